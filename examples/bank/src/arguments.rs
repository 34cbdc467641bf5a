//! What can be typed after `bank`. The work itself is in [`teller`](crate::teller).

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use annals::Timestamp;
use bank::cents::Cents;
use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Without a command, the bank tells the story of one account and leaves nothing behind.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
Data goes to stdout, everything else to stderr.";

/// A bank whose accounts are made of what happened to them.
#[derive(Debug, Parser)]
#[command(name = "bank", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show what an account holds, or held at any moment.
    Balance {
        #[command(flatten)]
        desk: Desk,
        #[command(flatten)]
        then: Then,
    },
    /// Put money into an account.
    Deposit {
        #[command(flatten)]
        desk: Desk,
        /// How much, like 100 or 12.50.
        #[arg(value_parser = amount)]
        amount: Cents,
    },
    /// Show everything that happened to an account.
    History {
        #[command(flatten)]
        desk: Desk,
    },
    /// Open an account.
    Open {
        #[command(flatten)]
        desk: Desk,
        /// Whose it is.
        #[arg(long)]
        owner: String,
    },
    /// Make all statements anew from the log, beside those that are read.
    Rebuild {
        #[command(flatten)]
        files: Files,
        /// At most so many events per second, so that others get their share of the machine.
        #[arg(long, value_name = "EVENTS")]
        pace: Option<NonZeroU32>,
    },
    /// Show every movement of an account with the balance after it, from the table of statements.
    Statement {
        /// The account's name, like ACC_123.
        account: String,
        #[command(flatten)]
        files: Files,
    },
    /// Take money out of an account.
    Withdraw {
        #[command(flatten)]
        desk: Desk,
        /// How much, like 100 or 12.50.
        #[arg(value_parser = amount)]
        amount: Cents,
    },
}

/// What every command about an account needs.
#[derive(Debug, Args)]
pub(crate) struct Desk {
    /// The account's name, like ACC_123.
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) files: Files,
}

/// What every command needs.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Where the bank is: sqlite:PATH, or memory: for one that is gone in the end.
    #[arg(long, env = "BANK_STORE", default_value = "sqlite:bank.db")]
    pub(crate) store: Location,
    /// Write JSON to stdout: one document, or one a line for lists.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which moment is asked for; the present when neither is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Then {
    /// At this moment, like 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// After so many events.
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
}

/// What `--store` names.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    Memory,
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("write it as sqlite:PATH or memory:"),
        }
    }
}

fn amount(text: &str) -> Result<Cents, String> {
    match text.parse() {
        Ok(Cents(0)) => Err("an amount is more than nothing".to_owned()),
        Ok(amount) => Ok(amount),
        Err(invalid) => Err(invalid.to_string()),
    }
}
