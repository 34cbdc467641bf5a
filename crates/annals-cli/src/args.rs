//! What can be typed after `annals`. The work itself is in the file of each command.

pub(crate) mod read_side;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use annals_core::{
    Category, EventId, EventType, ExpectedVersion, Fingerprint, StreamId, Tag, Timestamp, Version,
};
use annals_postgres::{PartitionName, RoleName};
use clap::{Args, Parser, Subcommand};

use self::read_side::{DeliveriesWork, InboxesWork, ProjectionsWork, ReadSide};
use crate::location::{Argument, Location};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage or refused as invalid, 3 conflict (the stream has \
moved on: read again, decide again), 4 outcome unknown (repeat with the same --id).
Data goes to stdout, everything else to stderr. NO_COLOR is honoured.";

/// Annals: record what happened, in order, never rewritten.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Write JSON to stdout: one document, or one a line for lists.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Append one event, or many from a file.
    Append(Append),
    /// Put a guarantee to the proof on a store that is in use.
    #[command(subcommand)]
    Audit(Audit),
    /// Look at deliveries to inboxes; retry or skip those that failed.
    #[command(subcommand)]
    Deliveries(DeliveriesWork),
    /// Start a server with a lively bank in it, to look around.
    Demo(Demo),
    /// Examine a store and the server it is in, and say what to change.
    Doctor(Doctor),
    /// List inboxes, pause, resume, disable or enable them.
    #[command(subcommand)]
    Inboxes(InboxesWork),
    /// Make the tables of a store, or bring them to what this build needs.
    Migrate(Migrate),
    /// List the partitions of a very large log in PostgreSQL, or make some.
    Partitions(Partitions),
    /// List projections and how far they are behind; pause, resume or rebuild them.
    #[command(subcommand)]
    Projections(ProjectionsWork),
    /// Show the events of a stream, or of the whole log.
    Read(Read),
    /// See whether everything that is stored can be read, by the lock of an application.
    #[command(subcommand)]
    Schema(SchemaWork),
    /// Serve a store over HTTP.
    Serve(Serve),
    /// List or drop what is kept beside the log to load aggregates sooner.
    #[command(subcommand)]
    Snapshots(SnapshotsWork),
    /// Show how many events and streams there are, and where the log ends.
    Stats(Stats),
    /// List the streams.
    Streams(Streams),
    /// Show events as they are appended.
    Tail(Tail),
}

#[derive(Debug, Args)]
pub(crate) struct Store {
    /// Where the events are: sqlite:PATH, postgres://USER@HOST:PORT/DATABASE?schema=NAME, or
    /// memory: for a log that is gone in the end. Other users of the machine can see arguments:
    /// leave a password out and set PGPASSWORD or ~/.pgpass, or put the whole into ANNALS_STORE.
    #[arg(
        long = "store",
        value_name = "STORE",
        env = "ANNALS_STORE",
        hide_env_values = true,
        default_value = "sqlite:annals.db",
        value_parser = Argument
    )]
    pub(crate) location: Location,
}

/// `annals append account-1 MoneyDeposited '{"amount":100}' --expect exists --tag branch:7`
#[derive(Debug, Args)]
pub(crate) struct Append {
    #[command(flatten)]
    pub(crate) store: Store,
    /// The stream, named category-id, like account-1.
    #[arg(required_unless_present = "from")]
    pub(crate) stream: Option<StreamId>,
    /// What happened, in the past tense, like MoneyDeposited.
    #[arg(value_name = "TYPE", required_unless_present = "from")]
    pub(crate) event_type: Option<EventType>,
    /// What exactly happened, as JSON; `-` reads it from stdin.
    #[arg(default_value = "{}")]
    pub(crate) data: String,
    /// What the stream must be: any, none, exists, or the version of its last event.
    #[arg(long, value_name = "any|none|exists|N", default_value = "any", value_parser = expected)]
    pub(crate) expect: ExpectedVersion,
    /// Also find the event by this key:value; may be repeated.
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    pub(crate) tags: Vec<Tag>,
    /// How it came about, as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// The event's id; give it, and the command can be repeated without appending twice.
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<EventId>,
    /// When it happened in the world, like 2026-03-01T12:00:00Z; now, when left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) occurred_at: Option<Timestamp>,
    /// Which shape the data has.
    #[arg(long, value_name = "N", default_value_t = std::num::NonZeroU32::MIN)]
    pub(crate) schema_version: std::num::NonZeroU32,
    /// Append the events of a file instead, one JSON object a line with `stream` and `type`, as
    /// `annals read --json` writes them; `-` reads stdin.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "stream", "event_type", "data", "expect", "tags", "metadata", "id", "occurred_at",
            "schema_version",
        ]
    )]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only events of this type; may be repeated, any of them fits.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<EventType>,
    /// Only events with this tag; may be repeated, all of them must fit.
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    pub(crate) tags: Vec<Tag>,
    /// Only events of streams in this category; may be repeated, any of them fits.
    #[arg(long = "category")]
    pub(crate) categories: Vec<Category>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Only this stream; the whole log when left out.
    pub(crate) stream: Option<StreamId>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Only events after this position.
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// Only events up to this position, it included.
    #[arg(long, value_name = "POSITION")]
    pub(crate) up_to: Option<u64>,
    /// Only events from this version of the stream on.
    #[arg(long, value_name = "VERSION", requires = "stream")]
    pub(crate) from_version: Option<u64>,
    /// Only events up to this version of the stream, it included.
    #[arg(long, value_name = "VERSION", requires = "stream")]
    pub(crate) to_version: Option<u64>,
    /// Only what had been recorded by then, like 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) as_at: Option<Timestamp>,
    /// Newest first.
    #[arg(long)]
    pub(crate) backward: bool,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Only this stream; the whole log when left out.
    pub(crate) stream: Option<StreamId>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Begin with the first event instead of the next one.
    #[arg(long, conflicts_with = "after")]
    pub(crate) from_start: bool,
    /// Begin after this position.
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Streams {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Only streams in this category.
    #[arg(long)]
    pub(crate) category: Option<Category>,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) store: Store,
}

/// Where `annals serve` and `annals demo` listen unless told otherwise.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:4470";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) store: Store,
    #[command(flatten)]
    pub(crate) read_side: ReadSide,
    /// Where to listen; port 0 takes a free one and prints it. Anything but loopback needs a
    /// token.
    #[arg(long, value_name = "ADDR:PORT", default_value = LISTEN_DEFAULT)]
    pub(crate) listen: SocketAddr,
    /// A file with the token that clients must show. The environment variable ANNALS_TOKEN does
    /// the same.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The directory of the bank's store; an existing one is continued.
    #[arg(long, default_value = "annals-demo")]
    pub(crate) dir: PathBuf,
    /// The bank's store itself, named as for the other commands; an existing one is continued.
    /// ANNALS_STORE is not looked at.
    #[arg(long, value_name = "STORE", value_parser = Argument, conflicts_with = "dir")]
    pub(crate) store: Option<Location>,
    /// Where to listen, on loopback; port 0 takes a free one and prints it. [default:
    /// 127.0.0.1:4470, or a free port when that is taken]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How many accounts the bank has.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) accounts: u32,
    /// How many requests the bank gets in a second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Stop by itself so many seconds after the bank has opened.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Where the bank's chance begins: the same number makes the same requests.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// `annals doctor --store postgres://app@localhost/app`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: Store,
}

/// `annals migrate --store postgres://owner@localhost/app --dry-run | psql …`
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Change nothing; print the SQL that would be run, for psql.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Change nothing; print the SQL, for psql, that makes a role which may append, read and keep
    /// snapshots, and nothing else. Does not connect.
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub(crate) role: Option<RoleName>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Partitions {
    #[command(flatten)]
    pub(crate) list: Store,
    #[command(subcommand)]
    pub(crate) work: Option<PartitionsWork>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartitionsWork {
    /// Freeze a partition that the log has left behind, and move it to another tablespace.
    Archive(ArchivePartition),
    /// Make partitions ahead of the log, where its writers lack the right to do so.
    Extend(Store),
    /// Split a log that is one table, once and for ever.
    Start(StartPartitions),
}

/// `annals partitions archive events_0 --tablespace slow --store postgres://owner@localhost/app`
#[derive(Debug, Args)]
pub(crate) struct ArchivePartition {
    #[command(flatten)]
    pub(crate) store: Store,
    /// The partition, named like events_0.
    pub(crate) name: PartitionName,
    /// Where to; it stays where it is when this is left out.
    #[arg(long, value_name = "TABLESPACE")]
    pub(crate) tablespace: Option<String>,
}

/// `annals partitions start --every 100000000 --store postgres://owner@localhost/app`
#[derive(Debug, Args)]
pub(crate) struct StartPartitions {
    #[command(flatten)]
    pub(crate) store: Store,
    /// How many groups of appends a partition has. A group has one event at least, and a few
    /// under load.
    #[arg(long, value_name = "GROUPS")]
    pub(crate) every: NonZeroU64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaWork {
    /// Compare a lock with what a program reads, or with what is in a store.
    Check(CheckSchema),
}

/// `annals schema check --lock events.lock.json --store postgres://app@localhost/app`
#[derive(Debug, Args)]
pub(crate) struct CheckSchema {
    /// The lock: the shapes that events were ever stored in, as the application keeps them.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: PathBuf,
    /// What the program reads, as its `Schema` says in JSON; `-` reads it from stdin. The store is
    /// not looked at then.
    #[arg(long, value_name = "FILE")]
    pub(crate) current: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: Store,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsWork {
    /// Drop snapshots; nothing is lost but the time to make them again.
    Drop(DropSnapshots),
    /// List snapshots, by stream.
    List(ListSnapshots),
}

/// `annals snapshots drop --category account --every-fold-but account.v7`
#[derive(Debug, Args)]
pub(crate) struct DropSnapshots {
    #[command(flatten)]
    pub(crate) store: Store,
    #[command(flatten)]
    pub(crate) which: WhichSnapshots,
    /// Drop every snapshot.
    #[arg(
        long,
        conflicts_with_all = ["stream", "category", "fold", "every_fold_but", "older_than"]
    )]
    pub(crate) all: bool,
}

/// `annals snapshots list --category account --older-than 30d`
#[derive(Debug, Args)]
pub(crate) struct ListSnapshots {
    #[command(flatten)]
    pub(crate) store: Store,
    #[command(flatten)]
    pub(crate) which: WhichSnapshots,
}

#[derive(Debug, Args)]
pub(crate) struct WhichSnapshots {
    /// Only those of this stream.
    #[arg(long)]
    pub(crate) stream: Option<StreamId>,
    /// Only those of streams in this category.
    #[arg(long)]
    pub(crate) category: Option<Category>,
    /// Only those that this code made, named by its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) fold: Option<Fingerprint>,
    /// Only those that any other code made than this.
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "fold")]
    pub(crate) every_fold_but: Option<Fingerprint>,
    /// Only those taken longer ago than this, like 90s, 5m, 2h or 30d, or before a moment, like
    /// 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "AGE|TIME", value_parser = taken_before)]
    pub(crate) older_than: Option<TakenBefore>,
}

/// As it was typed: what time it is now is asked for when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenBefore {
    Age(Duration),
    Moment(Timestamp),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Follow the log while it is written, then look whether each event came once and in order.
    Subscriptions(Subscriptions),
}

/// `annals audit subscriptions --for 1m --load 8 --store postgres://app@localhost/app`
#[derive(Debug, Args)]
pub(crate) struct Subscriptions {
    #[command(flatten)]
    pub(crate) store: Store,
    /// For how long, like 500ms, 10s, 5m or 2h; Ctrl-C ends it earlier.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) length: Duration,
    /// Begin after this position, 0 being the whole log; at its end, when left out.
    #[arg(long, value_name = "POSITION")]
    pub(crate) from: Option<u64>,
    /// How many subscriptions follow the whole log.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) subscriptions: u32,
    /// Follow this category, too; may be repeated.
    #[arg(long = "category")]
    pub(crate) categories: Vec<Category>,
    /// Also write to the log, with so many writers, in streams audit-…; what they write stays.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) load: u32,
}

/// A number and its unit, seconds when there is none.
fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let length = number.parse::<u64>().ok().map(|number| number.saturating_mul(millis));
    length
        .map(Duration::from_millis)
        .filter(|length| !length.is_zero() && *length <= MAX)
        .ok_or_else(|| "write it like 500ms, 10s, 5m or 2h, at most 168h".to_owned())
}

fn taken_before(text: &str) -> Result<TakenBefore, String> {
    if let Ok(moment) = text.parse() {
        return Ok(TakenBefore::Moment(moment));
    }
    let age = text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|number| {
        let seconds = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            _ => 24 * 3_600,
        };
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        Some(TakenBefore::Age(Duration::from_secs(
            number.parse::<u64>().ok()?.checked_mul(seconds)?,
        )))
    });
    age.ok_or_else(|| "write it like 90s, 5m, 2h or 30d, or like 2026-03-01T12:00:00Z".to_owned())
}

fn expected(text: &str) -> Result<ExpectedVersion, String> {
    match text {
        "any" => Ok(ExpectedVersion::Any),
        "none" => Ok(ExpectedVersion::NoStream),
        "exists" => Ok(ExpectedVersion::StreamExists),
        number => number
            .parse()
            .map(|number| ExpectedVersion::Exact(Version::new(number)))
            .map_err(|_| "it is any, none, exists, or a version number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        for (text, millis) in
            [("500ms", 500), ("10s", 10_000), ("10", 10_000), ("5m", 300_000), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "0s", "-1s", "1.5s", "10 s", "3d", "169h", "99999999999999999999h"] {
            assert!(duration(text).unwrap_err().contains("10s"), "{text}");
        }
    }

    #[test]
    fn ages_have_units_and_moments_are_moments() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7_200), ("30d", 2_592_000)]
        {
            assert_eq!(taken_before(text), Ok(TakenBefore::Age(Duration::from_secs(seconds))));
        }
        let moment = "2026-03-01T12:00:00Z";
        assert_eq!(taken_before(moment), Ok(TakenBefore::Moment(moment.parse().unwrap())));
        for text in
            ["", "s", "10", "+5s", "-1s", "1.5h", "5 m", "3w", "2026-03-01", "999999999999999999d"]
        {
            assert!(taken_before(text).unwrap_err().contains("30d"), "{text}");
        }
    }

    #[test]
    fn what_can_be_typed_holds_together() {
        use clap::CommandFactory;

        Cli::command().debug_assert();
    }
}
