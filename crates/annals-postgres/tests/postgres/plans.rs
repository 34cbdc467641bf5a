//! How the server finds things in a log of a million events: along an index, in order, and never
//! by reading a table from end to end or sorting it.
//!
//! The plans are taken from what the server really did (`auto_explain`), in the functions of the
//! schema as well, and compared with `golden/plans.txt`: on the PostgreSQL it was made with to the
//! letter, on others by the rules. `ANNALS_BLESS=1` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;

use annals_core::{
    Append, AppendCondition, Category, Data, EventStore, EventStoreExt, EventType, ExpectedVersion,
    ListStreams, NewEvent, Position, Query, QueryItem, Read, StreamCatalog, StreamId, Tag,
};
use annals_postgres::PostgresStore;
use annals_scratch::{Binaries, Cluster};
use futures_util::TryStreamExt;
use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;

const FILL: &str = "
INSERT INTO annals.events (position, version, schema_version, recorded_at, append_index, id, stream,
                           type, tags, data)
SELECT n * 4096::bigint, (n - 1) / 99999 + 1, 1, timestamptz '2026-01-01' + n * interval '1 second', 0,
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       (ARRAY['user', 'order', 'invoice'])[n % 3 + 1] || '-' || n % 99999,
       'Type' || n % 10, ARRAY['group:' || n % 10000, 'all:1'], '\\x7b7d'
FROM generate_series(1, 1000000) AS n;
INSERT INTO annals.tags (tag, position, type)
SELECT t.tag, e.position, e.type FROM annals.events e, unnest(e.tags) AS t(tag);
SELECT setval('annals.positions', 1000000);
ANALYZE annals.events;
ANALYZE annals.tags;";

struct Watched {
    cluster: Cluster,
    store: PostgresStore,
    read: usize,
    report: String,
}

impl Watched {
    async fn new() -> Self {
        let cluster = Cluster::start(&[
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_nested_statements", "on"),
            ("synchronous_commit", "off"),
            ("autovacuum", "off"),
            ("log_line_prefix", ""),
        ])
        .await
        .expect("a server");
        let store =
            PostgresStore::connect(&cluster.url("postgres")).await.expect("the store opens");
        let mut connection =
            PgConnection::connect(&cluster.url("postgres")).await.expect("a connection");
        connection.execute(raw_sql(FILL)).await.expect("a million events");
        query("ALTER DATABASE postgres SET auto_explain.log_min_duration = 0")
            .execute(&mut connection)
            .await
            .expect("a setting for sessions to come");
        // Its connections are from before the setting.
        let store = {
            drop(store);
            PostgresStore::connect(&cluster.url("postgres")).await
        };
        let store = store.expect("the store opens");
        let mut watched = Self { cluster, store, read: 0, report: String::new() };
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
        let plans = plans(&log);
        assert!(!plans.is_empty(), "{what}: nothing was logged\n{log}");
        for plan in &plans {
            for forbidden in ["Seq Scan on events", "Seq Scan on tags", "Bitmap", "Hash Join"] {
                assert!(!plan.contains(forbidden), "{what}: {forbidden}\n{plan}");
            }
            let sorts_events = sort_keys(plan).any(|key| !is_small(key));
            assert!(!sorts_events, "{what}: a sort\n{plan}");
        }
        writeln!(self.report, "== {what}\n{}", plans.join("--\n")).expect("a String takes all");
    }

    async fn read(&mut self, what: &str, read: Read) {
        let events = self.store.read_to_end(read).await.expect("events");
        assert!(!events.is_empty(), "{what}: nothing was found");
        self.note(what);
    }

    async fn append(&mut self, what: &str, append: Append) {
        self.store.append(append).await.expect("a receipt");
        self.note(what);
    }
}

/// What the plan sorts by, in nodes that sort; a merge has keys, too.
fn sort_keys(plan: &str) -> impl Iterator<Item = &str> {
    let lines = plan.lines().zip(plan.lines().skip(1));
    let sorts =
        lines.filter(|(node, _)| node.trim_start_matches([' ', '-', '>']).ends_with("Sort"));
    sorts.map(|(_, key)| key)
}

/// Sorts of what was sent along, the streams of an append, or of a page of positions.
fn is_small(key: &str) -> bool {
    ["s.place", "given.place", "u.position"].iter().any(|small| key.contains(small))
}

/// The plans in a log, without costs and the text of the statements.
fn plans(log: &str) -> Vec<String> {
    let mut plans = Vec::new();
    for entry in log.split("LOG:  duration: ").skip(1) {
        let lines = entry.lines().take_while(|line| {
            !line.starts_with("LOG:")
                && !line.starts_with("CONTEXT:")
                && !line.starts_with("STATEMENT:")
        });
        let mut plan = String::new();
        for line in lines.skip_while(|line| !line.contains("(cost=")) {
            let line = line.split("  (cost=").next().unwrap_or(line);
            // What does not name a table says nothing of how one is read.
            plan.push_str(line.trim_start_matches('\t'));
            plan.push('\n');
        }
        if plan.contains(" on events") || plan.contains(" on tags") {
            plans.push(plan);
        }
    }
    plans.dedup();
    plans
}

fn tag(key: &str, value: u32) -> Tag {
    Tag::of(key, value).expect("a tag")
}

fn append(name: &'static str) -> Append {
    let event =
        NewEvent::new(EventType::from_static("Type1"), Data::json("{}")).tagged(tag("group", 7));
    Append::to(StreamId::from_static(name), ExpectedVersion::Any, [event])
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_queries_walk_along_indexes() {
    let mut watched = Watched::new().await;
    let kind = EventType::from_static;
    let item = QueryItem::new;
    let middle = Position::new(500_000 * 4_096);
    let stream = StreamId::from_static("user-42");
    let in_stream = || Read::stream(stream.clone());
    let of = |item: QueryItem| Read::query(Query::of(item)).after(middle).limit(100);

    watched.read("the log", Read::all().after(middle).limit(100)).await;
    watched.read("the log, backward", Read::all().up_to(middle).backward().limit(100)).await;
    watched.read("a stream", in_stream()).await;
    watched.read("a stream, backward", in_stream().backward().limit(1)).await;
    watched
        .read("a stream from a position on", in_stream().after(Position::new(4_096 * 200_000)))
        .await;
    watched.read("a tag", of(item().tag(tag("group", 7)))).await;
    watched
        .read("a frequent tag and a type", of(item().tag(tag("all", 1)).event_type(kind("Type3"))))
        .await;
    watched.read("two tags", of(item().tag(tag("group", 7)).tag(tag("all", 1)))).await;
    watched.read("a type", of(item().event_type(kind("Type3")))).await;
    watched.read("two types", of(item().event_type(kind("Type3")).event_type(kind("Type4")))).await;
    watched.read("a category", of(item().category(Category::from_static("order")))).await;
    let course = Query::of(item().tag(tag("group", 7))).or(item().tag(tag("group", 8)));
    watched.read("either of two tags", Read::query(course).after(middle).limit(100)).await;

    watched.append("an append", append("user-42")).await;
    let conditions = [
        ("a tag", item().tag(tag("group", 9))),
        (
            "two tags and a type",
            item().tag(tag("group", 9)).tag(tag("all", 1)).event_type(kind("Type2")),
        ),
        ("a type", item().event_type(kind("Type8"))),
        ("a category", item().category(Category::from_static("invoice"))),
        ("a stream", item().stream(StreamId::from_static("order-1"))),
    ];
    for (what, item) in conditions {
        let head = watched.store.head().await.unwrap();
        watched.note("the head");
        let condition = AppendCondition::none_match_after(Query::of(item), head);
        watched
            .append(&format!("an append unless {what}"), append("user-43").only_if(condition))
            .await;
    }
    let streams: Vec<_> = watched
        .store
        .streams(ListStreams::all().category(Category::from_static("order")))
        .try_collect()
        .await
        .unwrap();
    assert!(streams.len() > 30_000);
    watched.new_plans();

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plans.txt");
    if std::env::var_os("ANNALS_BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &watched.report).unwrap();
    }
    if Binaries::find().unwrap().version() == 15 {
        let expected = std::fs::read_to_string(&golden).unwrap();
        assert_eq!(watched.report, expected, "look at the plans, then run with ANNALS_BLESS=1");
    }
}
