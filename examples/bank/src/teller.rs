//! Does what was typed: one command, one question, or one history.

use std::io::{self, Write};
use std::num::NonZeroU32;

use annals::{
    Annals, AsOf, ExecuteError, LoadError, MemoryStore, Recorded, SqliteStore, Version, sqlite,
};
use bank::account::{Account, AccountCommand, AccountEvent};
use bank::cents::Cents;
use bank::refusal::Refusal;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::arguments::{Action, Desk, Location, Then};
use crate::bookkeeper::{self, Unstated};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Execute(#[from] ExecuteError<Refusal>),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Statement(#[from] Unstated),
    #[error(transparent)]
    Open(#[from] sqlite::OpenError),
    #[error("cannot write to stdout")]
    Write(#[from] io::Error),
}

pub(crate) async fn serve(action: Action, out: &mut impl Write) -> Result<(), Failure> {
    match action {
        Action::Balance { desk, then } => balance(&open(&desk)?, &desk, then, out).await,
        Action::History { desk } => history(&open(&desk)?, &desk, out).await,
        Action::Deposit { desk, amount } => {
            let amount = amount.0;
            execute(&desk, AccountCommand::Deposit { amount }, out).await
        }
        Action::Open { desk, owner } => execute(&desk, AccountCommand::Open { owner }, out).await,
        Action::Rebuild { files, pace } => {
            Ok(bookkeeper::rebuild(&files, pace.map(NonZeroU32::get), out).await?)
        }
        Action::Statement { account, files } => {
            Ok(bookkeeper::statement(&files, &account, out).await?)
        }
        Action::Withdraw { desk, amount } => {
            let amount = amount.0;
            execute(&desk, AccountCommand::Withdraw { amount }, out).await
        }
    }
}

fn open(desk: &Desk) -> Result<Annals, sqlite::OpenError> {
    Ok(match &desk.files.store {
        Location::Memory => Annals::new(MemoryStore::new()),
        Location::Sqlite(path) => Annals::new(SqliteStore::open(path)?),
    })
}

async fn execute(
    desk: &Desk,
    command: AccountCommand,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let receipt = open(desk)?.execute(&desk.account, command).await?;
    show_balance(desk, &receipt.state, receipt.version, out)
}

async fn balance(
    bank: &Annals,
    desk: &Desk,
    then: Then,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let version = then.version.map_or(Version::END, Version::new);
    let as_of = then.at.map_or(AsOf::Version(version), AsOf::Time);
    let account = bank.load_as_of::<Account>(&desk.account, as_of).await?;
    show_balance(desk, &account.state, account.version, out)
}

fn show_balance(
    desk: &Desk,
    account: &Account,
    version: Version,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let name = &desk.account;
    if desk.files.json {
        let balance = account.balance;
        writeln!(out, "{}", json!({ "account": name, "balance": balance, "version": version }))?;
        return Ok(());
    }
    match account.balance {
        Some(held) => writeln!(out, "{name} holds {} (version {version})", Cents(held))?,
        None => writeln!(out, "{name} is not open")?,
    }
    Ok(())
}

async fn history(bank: &Annals, desk: &Desk, out: &mut impl Write) -> Result<(), Failure> {
    let mut history = bank.history::<Account>(&desk.account);
    while let Some(past) = history.try_next().await? {
        if desk.files.json {
            writeln!(out, "{}", as_json(&past))?;
        } else {
            writeln!(out, "{}", as_line(&past))?;
        }
    }
    Ok(())
}

pub(crate) fn as_line(Recorded { event, stored }: &Recorded<AccountEvent>) -> String {
    let what = match event {
        AccountEvent::AccountOpened { owner } => format!("opened by {owner}"),
        AccountEvent::MoneyDeposited { amount } => format!("deposited {}", Cents(*amount)),
        AccountEvent::MoneyWithdrawn { amount } => format!("withdrew {}", Cents(*amount)),
    };
    format!("{:>4}  {}  {what}", stored.version, stored.recorded_at)
}

fn as_json(Recorded { event, stored }: &Recorded<AccountEvent>) -> Value {
    let data = match event {
        AccountEvent::AccountOpened { owner } => json!({ "owner": owner }),
        AccountEvent::MoneyDeposited { amount } | AccountEvent::MoneyWithdrawn { amount } => {
            json!({ "amount": amount })
        }
    };
    json!({
        "version": stored.version,
        "recorded_at": stored.recorded_at,
        "type": stored.event_type,
        "data": data,
    })
}
