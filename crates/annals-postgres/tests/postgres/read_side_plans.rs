//! How the server finds deliveries and rows where there are many: along an index, and never
//! looking at more than it was asked for, however long a lane is and however many there are.
//!
//! The plans are taken from what the server really did (`auto_explain`), and compared with
//! `golden/read_side_plans.txt`: on the PostgreSQL it was made with to the letter, on others by
//! the rules. `ANNALS_BLESS=1` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use annals_core::{
    Attempt, CheckpointStore, Delivery, DeliveryId, DeliveryQueue, DeliveryState, Enqueue, EventId,
    EventRef, EventType, ListRows, NewDelivery, Position, RowStore, SelectDeliveries, Settled,
    StreamId, SubscriberName, Take, Then, Timestamp, Version,
};
use annals_postgres::PostgresReadSide;
use annals_scratch::{Binaries, Cluster};
use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;

/// One inbox with one lane, one with as many lanes as deliveries, one without lanes whose
/// deliveries all failed; a tenth of each is made. And one where all but the last one are made.
const FILL: &str = "
INSERT INTO annals_read.subscribers (name, last_generation)
VALUES ('one-lane', 0), ('many-lanes', 0), ('no-lane', 0), ('balances', 1);
INSERT INTO annals_read.deliveries (position, version, due_at, enqueued_at, ended_at, inbox, attempts,
                                    state, head, event, id, stream, type, lane)
SELECT n, 1, timestamptz '2026-01-01' + i * n * interval '1 ms' * (i / 3), '2026-01-01',
       CASE WHEN n % 10 = 0 THEN timestamptz '2026-01-01' END, i, i / 3,
       CASE WHEN n % 10 = 0 THEN 4 WHEN i = 3 THEN 1 ELSE 0 END,
       n % 10 <> 0 AND (i > 1 OR n = 1),
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       i || '/' || n, 'issue-' || n, 'IssueOpened',
       (ARRAY['lane', 'lane ' || n, NULL])[i]
FROM generate_series(1, 100000) AS n, generate_series(1, 3) AS i;
INSERT INTO annals_read.subscribers (name, last_generation) VALUES ('made', 0);
INSERT INTO annals_read.deliveries (position, version, due_at, enqueued_at, ended_at, inbox, attempts,
                                    state, head, event, id, stream, type)
SELECT n, 1, '2026-01-01', '2026-01-01', CASE WHEN n < 100000 THEN timestamptz '2026-02-01' END, 5, 1,
       CASE WHEN n < 100000 THEN 4 ELSE 3 END, n = 100000,
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       '5/' || n, 'issue-' || n, 'IssueOpened'
FROM generate_series(1, 100000) AS n;
INSERT INTO annals_read.attempts (delivery, token, number, late, at, micros, error)
SELECT '3/' || n, 0, 1, false, '2026-01-01', 1, 'no answer' FROM generate_series(1, 100000) AS n;
INSERT INTO annals_read.generations (subscriber, generation, version, begun_at, parts, role)
VALUES (4, 1, 1, '2026-01-01', 1, 0);
INSERT INTO annals_read.rows (subscriber, generation, key, value)
SELECT 4, 1, 'account-' || n, '1' FROM generate_series(1, 100000) AS n;";

/// More rows than this no node of a plan may see, of a few that were asked for.
const ROWS_MAX: f64 = 1_200.0;

struct Watched {
    cluster: Cluster,
    read_side: PostgresReadSide,
    read: usize,
    report: String,
}

impl Watched {
    async fn new() -> Self {
        let cluster = Cluster::start(&[
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_nested_statements", "on"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            ("synchronous_commit", "off"),
            ("autovacuum", "off"),
            ("log_line_prefix", ""),
        ])
        .await
        .expect("a server");
        let url = cluster.url("postgres");
        PostgresReadSide::connect(&url).await.expect("the read side opens").close().await;
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        connection.execute(raw_sql(FILL)).await.expect("many deliveries");
        connection.execute(raw_sql("VACUUM ANALYZE")).await.expect("it is analysed");
        query("ALTER DATABASE postgres SET auto_explain.log_min_duration = 0")
            .execute(&mut connection)
            .await
            .expect("a setting for sessions to come");
        let read_side = PostgresReadSide::connect(&url).await.expect("the read side opens");
        let mut watched = Self { cluster, read_side, read: 0, report: String::new() };
        watched.new_plans();
        watched
    }

    /// What the server has logged since the last time.
    fn new_plans(&mut self) -> String {
        let log = std::fs::read(self.cluster.directory().join("log")).expect("the server logs");
        let new = String::from_utf8_lossy(&log[self.read..]).into_owned();
        self.read = log.len();
        new
    }

    /// Notes the plans of what was just done.
    fn note(&mut self, what: &str) {
        let log = self.new_plans();
        let plans = plans(&log, what);
        assert!(!plans.is_empty(), "{what}: nothing was logged\n{log}");
        for plan in &plans {
            for forbidden in
                ["Seq Scan on deliveries", "Seq Scan on rows", "Seq Scan on attempts", "Hash Join"]
            {
                assert!(!plan.contains(forbidden), "{what}: {forbidden}\n{plan}");
            }
        }
        writeln!(self.report, "== {what}\n{}", plans.join("--\n")).expect("a String takes all");
    }

    async fn take(&mut self, inbox: &'static str) -> Vec<Delivery> {
        let inbox = SubscriberName::from_static(inbox);
        let due = self.read_side.next_due(&inbox).await.expect("an answer");
        assert!(due.is_some());
        self.note(&format!("{inbox}: next due"));
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let take = Take { inbox: inbox.clone(), limit: 10, now, until: Timestamp::MAX };
        let taken = self.read_side.take(take).await.expect("deliveries");
        self.note(&format!("{inbox}: take"));
        taken
    }
}

/// The plans in a log, without costs and the text of the statements; none may look at many rows.
fn plans(log: &str, what: &str) -> Vec<String> {
    let mut plans = Vec::new();
    for entry in log.split("LOG:  duration: ").skip(1) {
        let lines = entry.lines().take_while(|line| {
            !line.starts_with("LOG:")
                && !line.starts_with("CONTEXT:")
                && !line.starts_with("STATEMENT:")
        });
        let mut plan = String::new();
        for line in lines.skip_while(|line| !line.contains("(cost=")) {
            assert!(seen(line) <= ROWS_MAX, "{what}: many rows\n{entry}");
            if [
                "Sort Method",
                "Rows Removed",
                "Heap Blocks",
                "Heap Fetches",
                "Buckets",
                "Storage",
                "Batches",
                "Tuples",
            ]
            .iter()
            .any(|figure| line.contains(figure))
            {
                continue;
            }
            let line = line.split("  (cost=").next().unwrap_or(line);
            plan.push_str(line.trim_start_matches('\t'));
            plan.push('\n');
        }
        if ["deliveries", "attempts", "rows"].iter().any(|t| plan.contains(&format!(" on {t}"))) {
            plans.push(plan);
        }
    }
    plans.dedup();
    plans
}

/// How many rows a node has seen.
fn seen(line: &str) -> f64 {
    let figure = |name: &str| {
        let rest = &line[line.find(name)? + name.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse::<f64>().ok()
    };
    let removed = figure("Rows Removed by Filter: ").unwrap_or_default();
    let rows = line.split("(actual ").nth(1).map_or(0.0, |actual| {
        let rows = actual.split("rows=").nth(1).unwrap_or("0");
        let end = rows.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rows.len());
        rows[..end].parse().unwrap_or_default()
    });
    removed + rows * figure("loops=").unwrap_or(1.0)
}

fn settled(taken: &[Delivery], then: Then) -> Vec<Settled> {
    let attempt = |delivery: &Delivery| Attempt {
        number: delivery.attempt,
        at: Timestamp::EPOCH,
        duration: Duration::ZERO,
        error: Some("no answer".into()),
        note: None,
    };
    let settled = |delivery: &Delivery| Settled {
        id: delivery.id.clone(),
        token: delivery.token,
        attempt: Some(attempt(delivery)),
        then,
    };
    taken.iter().map(settled).collect()
}

fn new(inbox: &'static str, position: u64, lane: Option<&str>) -> NewDelivery {
    let inbox = SubscriberName::from_static(inbox);
    let mut id = [1; 16];
    id[8..].copy_from_slice(&position.to_be_bytes());
    let event = EventId::from_bytes(id);
    NewDelivery {
        id: DeliveryId::new(&inbox, event, None),
        inbox,
        event: EventRef {
            id: event,
            position: Position::new(position),
            stream: StreamId::from_static("issue-1"),
            version: Version::new(1),
            event_type: EventType::from_static("IssueOpened"),
        },
        recipient: None,
        lane: lane.map(str::to_owned),
        due_at: Timestamp::EPOCH,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_along_indexes() {
    let mut watched = Watched::new().await;
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    for (inbox, expected) in [("one-lane", 1), ("many-lanes", 10), ("no-lane", 10)] {
        let taken = watched.take(inbox).await;
        assert_eq!(taken.len(), expected, "{inbox}");
        let (one, others) = taken.split_first().expect("one was taken");
        if !others.is_empty() {
            watched.read_side.settle(settled(others, Then::Again(now)), now).await.unwrap();
            watched.note(&format!("{inbox}: settle, again"));
        }
        let one = std::slice::from_ref(one);
        watched.read_side.settle(settled(one, Then::Done), now).await.unwrap();
        watched.note(&format!("{inbox}: settle, made"));
    }
    let next = watched.take("one-lane").await;
    assert_eq!(next[0].event.position, Position::new(2), "the next one of the lane");

    for (inbox, lane) in
        [("one-lane", Some("lane")), ("many-lanes", Some("lane 7")), ("no-lane", None)]
    {
        let deliveries = (0..3).map(|n| new(inbox, 200_000 + n, lane)).collect();
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        assert_eq!(watched.read_side.enqueue(enqueue, now).await.unwrap(), 3);
        watched.note(&format!("{inbox}: enqueue"));
    }
    let kept: Vec<_> = next.iter().map(|one| (one.id.clone(), one.token)).collect();
    watched.read_side.keep(&kept, Timestamp::MAX).await.unwrap();
    watched.note("keep");
    let inbox = SubscriberName::from_static("many-lanes");
    let page = SelectDeliveries::inbox(inbox.clone())
        .after(Position::new(50_000), DeliveryId::from_stored("many-lanes/50000"));
    assert_eq!(watched.read_side.deliveries(&page, 20).await.unwrap().len(), 20);
    watched.note("a page of deliveries");
    let dead = SelectDeliveries::inbox(inbox.clone()).state(DeliveryState::Dead);
    assert_eq!(watched.read_side.deliveries(&dead, 20).await.unwrap().len(), 0);
    watched.note("dead letters");
    let one = SelectDeliveries::one(DeliveryId::from_stored("1/3"));
    assert_eq!(watched.read_side.skip(&one, "old", now).await.unwrap(), 1);
    watched.note("skip one");
    let made = SelectDeliveries::inbox(SubscriberName::from_static("made"));
    assert_eq!(watched.read_side.retry(&made, now).await.unwrap(), 1);
    watched.note("retry those of an inbox");
    assert_eq!(watched.read_side.skip(&made, "old", now).await.unwrap(), 1);
    watched.note("skip those of an inbox");
    assert_eq!(watched.read_side.forget(&inbox, now, 50).await.unwrap(), 50);
    watched.note("forget");

    let balances = SubscriberName::from_static("balances");
    watched.read_side.row(&balances, &"account-7".into()).await.unwrap().expect("a row");
    watched.note("a row");
    let list = ListRows { prefix: "account-77".into(), limit: 20, ..ListRows::default() };
    assert_eq!(watched.read_side.rows(&balances, list).await.unwrap().len(), 20);
    watched.note("rows with a prefix");

    let few = SubscriberName::from_static("few");
    let deliveries = vec![new("few", 300_000, Some("lane")), new("few", 300_001, None)];
    watched.read_side.enqueue(Enqueue { deliveries, advances: Vec::new() }, now).await.unwrap();
    watched.new_plans();
    assert_eq!(watched.read_side.delete(&few, now).await.unwrap().deliveries, 2);
    watched.note("delete an inbox");

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/read_side_plans.txt");
    if std::env::var_os("ANNALS_BLESS").is_some() {
        std::fs::write(&golden, &watched.report).unwrap();
    }
    if Binaries::find().unwrap().version() == 15 {
        let expected = std::fs::read_to_string(&golden).unwrap();
        assert_eq!(watched.report, expected, "look at the plans, then run with ANNALS_BLESS=1");
    }
}
