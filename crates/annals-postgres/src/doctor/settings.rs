//! The server's settings, as the store's connections have them.

use std::collections::HashMap;

use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnection, Postgres};

use super::Finding;

/// What one process may hold of the server's table of locks when it is busiest: six groups under
/// way or waiting, with 1,024 locks each.
const LOCKS_OF_A_PROCESS: u64 = 6 * 1_024;

const NAMES: &[&str] = &[
    "autovacuum",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "reserved_connections",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "track_counts",
    "wal_level",
];

pub(super) async fn look(
    connection: &mut PgConnection,
    pool_size: u32,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let rows = query_as::<Postgres, (String, String)>(
        "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)",
    )
    .bind(NAMES)
    .fetch_all(&mut *connection)
    .await?;
    let (used, standbys) = query_as::<Postgres, (i64, i64)>(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                (SELECT count(*) FROM pg_stat_replication)",
    )
    .fetch_one(connection)
    .await?;
    let server = Server {
        settings: rows.into_iter().collect(),
        used: used.unsigned_abs(),
        standbys: standbys.unsigned_abs(),
    };
    findings.extend([
        server.fsync(),
        server.full_page_writes(),
        server.synchronous_commit(),
        server.autovacuum(),
        server.connections(pool_size.into()),
        server.idle_timeout(),
        server.isolation(),
        server.locks(),
        server.wal_level(),
    ]);
    findings.extend(server.read_only());
    Ok(())
}

/// What the server says of itself.
#[derive(Default)]
struct Server {
    settings: HashMap<String, String>,
    /// Connections of clients.
    used: u64,
    standbys: u64,
}

impl Server {
    fn get(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Zero, where this version of the server has no such setting.
    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_default()
    }

    fn is_off(&self, name: &str) -> bool {
        self.get(name) == "off"
    }

    fn fsync(&self) -> Finding {
        if !self.is_off("fsync") {
            return Finding::ok("fsync", "on");
        }
        let what = "off: a power cut loses acknowledged events, and perhaps the whole database";
        Finding::problem("fsync", what)
            .advise("run: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();")
    }

    fn full_page_writes(&self) -> Finding {
        if !self.is_off("full_page_writes") {
            return Finding::ok("full_page_writes", "on");
        }
        let what = "off: a page that is half written in a power cut cannot be mended, unless the \
                    file system never leaves one";
        Finding::warning("full_page_writes", what)
            .advise("run: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();")
    }

    fn synchronous_commit(&self) -> Finding {
        const NAME: &str = "synchronous_commit";
        let (mode, names) = (self.get(NAME), self.get("synchronous_standby_names"));
        match (mode, names.is_empty()) {
            ("off", _) => Finding::note(
                NAME,
                "off; the store turns it on for its own commits, and for transactions that append",
            ),
            (_, true) if self.standbys > 0 => {
                let what = format!(
                    "{mode}, and no standby is synchronous: an acknowledged event is on this \
                     server's disk, and a failover may lose it"
                );
                Finding::note(NAME, what).advise(
                    "if that must not be, name standbys in synchronous_standby_names; Patroni: \
                     synchronous_mode: true",
                )
            }
            (_, true) => Finding::ok(NAME, format!("{mode}, without standbys to wait for")),
            ("local", false) => {
                let what = format!(
                    "local, though {names} should have every commit: a failover may lose \
                     acknowledged events"
                );
                Finding::warning(NAME, what).advise(
                    "run: ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();",
                )
            }
            ("remote_write", false) => {
                let what = format!(
                    "remote_write: {names} has a commit in memory when it is acknowledged, not on \
                     its disk"
                );
                Finding::note(NAME, what)
            }
            (_, false) => {
                Finding::ok(NAME, format!("{mode}: acknowledged once {names} has it, too"))
            }
        }
    }

    fn autovacuum(&self) -> Finding {
        if !self.is_off("autovacuum") && !self.is_off("track_counts") {
            return Finding::ok("autovacuum", "on");
        }
        let what = "off: plans will not fit the log as it grows, and transaction ids run out";
        Finding::warning("autovacuum", what).advise(
            "run: ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT \
             pg_reload_conf();",
        )
    }

    fn connections(&self, pool_size: u64) -> Finding {
        let max = self.number("max_connections");
        let reserved =
            self.number("superuser_reserved_connections") + self.number("reserved_connections");
        let used = self.used;
        let what = format!(
            "{used} of {max} are in use, {reserved} are reserved; a store takes up to {pool_size} \
             in each process",
        );
        if max.saturating_sub(reserved + used) >= pool_size {
            return Finding::ok("max_connections", what);
        }
        Finding::warning("max_connections", what).advise(
            "raise max_connections and start the server again, give the stores fewer with \
             Options::connections, or put a pooler between them",
        )
    }

    fn idle_timeout(&self) -> Finding {
        const NAME: &str = "idle_in_transaction_session_timeout";
        let millis = self.number(NAME);
        if millis > 0 {
            return Finding::ok(NAME, format!("{millis} ms"));
        }
        let what = "0: a client that hangs in a transaction that has appended holds all readers \
                    back until somebody ends it";
        Finding::note(NAME, what).advise(
            "set a limit for the roles of applications; run: ALTER ROLE … SET \
             idle_in_transaction_session_timeout = '60s';",
        )
    }

    fn isolation(&self) -> Finding {
        const NAME: &str = "default_transaction_isolation";
        let level = self.get(NAME);
        if level == "read committed" {
            return Finding::ok(NAME, level);
        }
        let what = format!("{level}: every append is refused, it needs read committed");
        Finding::problem(NAME, what).advise(
            "set it back where it was set, for the server, the database or the role; run: ALTER \
             ROLE … RESET default_transaction_isolation;",
        )
    }

    fn read_only(&self) -> Option<Finding> {
        const NAME: &str = "default_transaction_read_only";
        (self.get(NAME) == "on").then(|| {
            Finding::problem(NAME, "on: every append is refused").advise(
                "set it back where it was set, for the server, the database or the role; run: \
                 ALTER ROLE … RESET default_transaction_read_only;",
            )
        })
    }

    fn locks(&self) -> Finding {
        const NAME: &str = "max_locks_per_transaction";
        let each = self.number(NAME);
        let room =
            each * (self.number("max_connections") + self.number("max_prepared_transactions"));
        let what = format!(
            "{each}: room for {room} locks; a process that appends takes up to {LOCKS_OF_A_PROCESS}"
        );
        if room >= LOCKS_OF_A_PROCESS {
            return Finding::ok(NAME, what);
        }
        Finding::note(NAME, what).advise(
            "if appends fail with \"out of shared memory\", raise it and start the server again; \
             run: ALTER SYSTEM SET max_locks_per_transaction = 256;",
        )
    }

    fn wal_level(&self) -> Finding {
        let level = self.get("wal_level");
        if level != "minimal" {
            return Finding::ok("wal_level", level);
        }
        let what = "minimal: no standby can follow, and no backup be brought up to a moment";
        Finding::note("wal_level", what).advise(
            "raise it and start the server again; run: ALTER SYSTEM SET wal_level = replica;",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn with(settings: &[(&str, &str)]) -> Server {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Server { settings: settings.iter().map(owned).collect(), ..Server::default() }
    }

    #[test]
    fn what_can_lose_events_is_told_apart_from_what_cannot() {
        let of = |mode, names, standbys| {
            let settings = [("synchronous_commit", mode), ("synchronous_standby_names", names)];
            Server { standbys, ..with(&settings) }.synchronous_commit().severity
        };
        assert_eq!(of("on", "", 0), Severity::Ok);
        assert_eq!(of("on", "", 1), Severity::Note);
        assert_eq!(of("local", "", 0), Severity::Ok);
        assert_eq!(of("off", "", 0), Severity::Note);
        assert_eq!(of("on", "*", 1), Severity::Ok);
        assert_eq!(of("remote_write", "*", 1), Severity::Note);
        assert_eq!(of("local", "*", 1), Severity::Warning);
        assert_eq!(with(&[("fsync", "off")]).fsync().severity, Severity::Problem);
        assert_eq!(with(&[("fsync", "on")]).fsync().severity, Severity::Ok);
        let half = with(&[("full_page_writes", "off")]).full_page_writes();
        assert_eq!(half.severity, Severity::Warning);
    }

    #[test]
    fn connections_and_locks_are_counted() {
        let small = with(&[("max_connections", "20"), ("superuser_reserved_connections", "3")]);
        assert_eq!(small.connections(17).severity, Severity::Ok);
        assert_eq!(small.connections(18).severity, Severity::Warning);
        assert_eq!(Server { used: 5, ..small }.connections(16).severity, Severity::Warning);
        let locks = |each, connections| {
            with(&[("max_locks_per_transaction", each), ("max_connections", connections)]).locks()
        };
        assert_eq!(locks("64", "100").severity, Severity::Ok);
        assert_eq!(locks("64", "20").severity, Severity::Note);
    }

    #[test]
    fn settings_that_refuse_every_append_are_problems() {
        let strict = with(&[("default_transaction_isolation", "serializable")]);
        assert_eq!(strict.isolation().severity, Severity::Problem);
        let idle = with(&[("default_transaction_read_only", "on")]);
        assert_eq!(idle.read_only().map(|finding| finding.severity), Some(Severity::Problem));
        assert_eq!(with(&[]).read_only(), None);
    }
}
