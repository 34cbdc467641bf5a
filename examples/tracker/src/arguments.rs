//! What can be typed after `tracker`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use jiff::tz::TimeZone;
use url::Url;

const AFTER_HELP: &str = "\
Ctrl-C or SIGTERM lets requests finish and stops it. Any number of processes may run on the same \
directory.

Exit codes: 0 stopped, 1 failed, 2 wrong usage. TRACKER_LOG=debug logs what it does.";

/// An issue tracker in which everything is made of what happened.
#[derive(Debug, Parser)]
#[command(name = "tracker", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Where its files are; without it in a directory that is gone in the end.
    #[arg(long, value_name = "PATH", env = "TRACKER_DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// Where to listen, on loopback; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3300", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    /// Begin with people, issues and rules to try it out.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Send mail by this server on loopback, without a password and in the clear.
    #[arg(long, value_name = "ADDR:PORT", value_parser = loopback)]
    pub(crate) smtp: Option<SocketAddr>,
    /// Tell it in the room of a chat that this incoming webhook leads to. Whoever knows the URL can
    /// write there: the environment is a better place for it than a command line.
    #[arg(long, value_name = "URL", env = "TRACKER_CHAT", hide_env_values = true)]
    pub(crate) chat: Option<Url>,
    /// Keep the issues in this service up to date.
    #[arg(long, value_name = "URL")]
    pub(crate) sync: Option<Url>,
    /// Let webhooks lead to this machine too: for trials.
    #[arg(long)]
    pub(crate) loopback_webhooks: bool,
    /// In the days and hours of which time zone things are shown.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(crate) zone: TimeZone,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write it as ADDR:PORT, like 127.0.0.1:3300".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("this example has neither authentication nor encryption, and so it stays on \
                    this machine; name an address like 127.0.0.1"
            .to_owned());
    }
    Ok(address)
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| "name one like Europe/Berlin".to_owned())
}
