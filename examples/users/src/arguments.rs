//! What can be typed after `users`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

const AFTER_HELP: &str = "\
It serves POST /users/create, DELETE /users/destroy, GET /users and GET /users/ID/events, and \
prints what to try. Ctrl-C or SIGTERM lets requests finish and stops it.

Exit codes: 0 stopped, 1 failed, 2 wrong usage. USERS_LOG=info logs every change, \
USERS_LOG=debug more.";

/// Users whose rows and events commit together, over HTTP.
#[derive(Debug, Parser)]
#[command(name = "users", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Where the users are: sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE. Other users of
    /// the machine can see arguments: put a password into PGPASSWORD, or the whole into
    /// USERS_STORE.
    #[arg(
        long,
        value_name = "STORE",
        env = "USERS_STORE",
        hide_env_values = true,
        default_value = "sqlite:users.db"
    )]
    pub(crate) store: Location,
    /// Where to listen, on loopback; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
}

/// What `--store` names. It never shows a password.
#[derive(Clone)]
pub(crate) enum Location {
    Postgres(String),
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", "" | ":memory:")) => Err("name a file, like sqlite:users.db"),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            _ => Err("write it as sqlite:PATH or postgres://USER@HOST:PORT/DATABASE"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => f.write_str("PostgreSQL"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write it as ADDR:PORT, like 127.0.0.1:3000".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("other machines could reach that, and this example has no authentication; \
                    listen on 127.0.0.1"
            .to_owned());
    }
    Ok(address)
}
