//! What can be typed after `shop`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Without a command it serves HTTP, with a small demo stock, and prints what to try. Ctrl-C or \
SIGTERM lets requests finish and stops it.

SHOP_ELASTICSEARCH_KEY is the API key for --elasticsearch, when the cluster wants one.

Exit codes: 0 stopped or done, 1 failed, 2 wrong usage. SHOP_LOG=debug logs what it does.";

/// A shop whose orders, stock and customers are made of what happened to them.
#[derive(Debug, Parser)]
#[command(name = "shop", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = false)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// Where the shop is: sqlite:PATH, or memory for one that is gone in the end.
    #[arg(
        long,
        global = true,
        value_name = "STORE",
        env = "SHOP_STORE",
        default_value = "sqlite:shop.db"
    )]
    pub(crate) store: Location,
    /// Keep the catalogue in the cluster of Elasticsearch or OpenSearch at this URL, instead of a
    /// file beside the shop's.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) elasticsearch: Option<String>,
    /// Where to listen, on loopback; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3100", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    /// Serve without loading the demo.
    #[arg(long)]
    pub(crate) empty: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Action {
    /// List the balances of all accounts, brought up to date from where they were.
    Balances,
    /// Make what is derived from the log anew, beside what is read; go on with it if it was
    /// interrupted.
    Rebuild(Anew),
    /// Load the demo, a stock and customers with addresses of the first shape, and end.
    Seed,
    /// Fold every item from its first event, and keep a snapshot of it anew.
    Snapshots,
    /// Let many tasks restock and take one item at the same moment, and compare with the log.
    Storm {
        /// How many.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1_000))]
        tasks: u32,
    },
}

/// What is rebuilt, and how.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Anew {
    /// The balances of all accounts, or the products of the catalogue.
    pub(crate) part: Rebuilt,
    /// Only from what came after this position: balances are then what was moved since.
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// In so many parts, which work at the same time; as many as before unless said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) partitions: Option<u32>,
    /// At most so many events per second in each part, so that others get their share.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pace: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Rebuilt {
    Balances,
    Products,
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
        match text.split_once(':').unwrap_or((text, "")) {
            ("memory", "") => Ok(Self::Memory),
            ("sqlite", "" | ":memory:") => Err("name a file, like sqlite:shop.db, or say memory"),
            ("sqlite", path) => Ok(Self::Sqlite(path.into())),
            _ => Err("write it as sqlite:PATH or memory"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write it as ADDR:PORT, like 127.0.0.1:3100".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("other machines could reach that, and this example has no authentication; \
                    listen on 127.0.0.1"
            .to_owned());
    }
    Ok(address)
}
