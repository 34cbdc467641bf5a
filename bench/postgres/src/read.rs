//! Reading what was appended: a stream, the whole log, a tag.

use std::time::{Duration, Instant};

use annals_bench_report::{Line, Report};
use annals_core::{
    Append, EventStore, ExpectedVersion, Notice, Query, QueryItem, Read, StreamAppend, StreamId,
    Subscribe, Tag,
};
use annals_postgres::PostgresStore;
use futures_util::StreamExt;
use sqlx_core::executor::Executor;

use crate::Args;
use crate::fact::{Fact, scramble};
use crate::rows::{self, Seen};
use crate::server::{Server, connect, open};

const TARGET: f64 = 0.7;
const LONG_STREAM: &str = "long-1";
const LONG_EVENTS: u64 = 10_000;
/// How often the stream is read for one figure, and how many tags are asked for.
const STREAM_READS: usize = 20;
const TAGS_ASKED: u64 = 200;
/// A tag finds about this many events.
const EVENTS_PER_TAG: u64 = 100;
/// The streams and events of an append that fills the store.
const FILL_STREAMS: u64 = 128;
const FILL_EVENTS: u64 = 32;

pub async fn measure(server: &Server, args: &Args, report: &mut Report) {
    let database = server.database().await;
    let store = open(&database).await;
    let tags = (args.events / EVENTS_PER_TAG).max(1);
    report.note(fill(&store, args.events, tags).await);
    let mut connection = connect(database.url()).await;
    // As the server does by itself after a while.
    connection.execute("VACUUM (ANALYZE)").await.expect("the tables are analysed");
    connection.execute("CHECKPOINT").await.expect("the checkpoint is made");
    let asked: Vec<String> = (0..TAGS_ASKED.min(tags)).map(|n| tag(n * 7 % tags)).collect();
    let line = |name: &str| Line::new(name, "events/s").target(TARGET);
    let mut stream = line("stream of 10,000 events: a driver's loop");
    let mut all = line("whole log, `Read::all`: a cursor or pages");
    let mut catch_up = line("whole log, a subscription from the start: a cursor or pages");
    let mut by_tag = Line::new("query by tag: a driver's loop", "events/s");
    // The first round fills the caches; it does not count.
    for round in 0..=args.rounds {
        let raw = raw_streams(&mut connection).await;
        let mine = read_streams(&store).await;
        let (cursor, seen) = timed(rows::cursor(&mut connection)).await;
        let (pages, paged) = timed(rows::pages(&mut connection)).await;
        let (read, found) = timed(read_all(&store)).await;
        let (subscribed, delivered) = timed(catch_up_with(&store)).await;
        assert_eq!([paged, found, delivered], [seen; 3], "everybody has read the same");
        let raw_tag = raw_tags(&mut connection, &asked).await;
        let my_tag = read_tags(&store, &asked).await;
        if round == 0 {
            continue;
        }
        let rate = |time: Duration| seen.events as f64 / time.as_secs_f64();
        eprintln!("  whole log: cursor {:.0}, pages {:.0}", rate(cursor), rate(pages));
        stream.add(raw, mine);
        all.add(rate(cursor.min(pages)), rate(read));
        catch_up.add(rate(cursor.min(pages)), rate(subscribed));
        by_tag.add(raw_tag, my_tag);
    }
    [stream, all, catch_up, by_tag].into_iter().for_each(|line| report.add(line));
    store.close().await;
}

async fn timed(work: impl Future<Output = Seen>) -> (Duration, Seen) {
    let start = Instant::now();
    let seen = work.await;
    (start.elapsed(), seen)
}

fn tag(number: u64) -> String {
    format!("customer:{number}")
}

/// Fills the store with appends of 4,096 events, and a stream of 10,000.
async fn fill(store: &PostgresStore, events: u64, tags: u64) -> String {
    let per_append = FILL_STREAMS * FILL_EVENTS;
    let start = Instant::now();
    for turn in 0..events.div_ceil(per_append) {
        let mut append = Append::default();
        for place in 0..FILL_STREAMS {
            let number = turn * FILL_STREAMS + place;
            let event = |index| {
                let mut fact = Fact::new(String::new(), number, index);
                fact.tags = vec![tag(scramble(number * FILL_EVENTS + index) % tags)];
                fact.into_event()
            };
            append.streams.push(StreamAppend {
                stream: StreamId::of("account", number).expect("the name is valid"),
                expected: ExpectedVersion::Any,
                events: (0..FILL_EVENTS).map(event).collect(),
            });
        }
        store.append(append).await.expect("the append succeeds");
    }
    let filled = events.div_ceil(per_append) * per_append;
    let rate = filled as f64 / start.elapsed().as_secs_f64();
    for first in (0..LONG_EVENTS).step_by(1_000) {
        let event = |index| Fact::new(String::new(), 0, first + index).into_event();
        let stream = StreamId::from_static(LONG_STREAM);
        let append = Append::to(stream, ExpectedVersion::Any, (0..1_000).map(event));
        store.append(append).await.expect("the append succeeds");
    }
    format!("a log of {} events, appended 4,096 at once: {rate:.0}/s", filled + LONG_EVENTS)
}

async fn raw_streams(connection: &mut sqlx_postgres::PgConnection) -> f64 {
    let start = Instant::now();
    for _ in 0..STREAM_READS {
        let seen = rows::stream(connection, LONG_STREAM).await;
        assert_eq!(seen.events, LONG_EVENTS, "the whole stream is read");
    }
    (STREAM_READS as u64 * LONG_EVENTS) as f64 / start.elapsed().as_secs_f64()
}

async fn read_streams(store: &PostgresStore) -> f64 {
    let start = Instant::now();
    for _ in 0..STREAM_READS {
        let seen = read(store, Read::stream(StreamId::from_static(LONG_STREAM))).await;
        assert_eq!(seen.events, LONG_EVENTS, "the whole stream is read");
    }
    (STREAM_READS as u64 * LONG_EVENTS) as f64 / start.elapsed().as_secs_f64()
}

async fn read_all(store: &PostgresStore) -> Seen {
    read(store, Read::all()).await
}

async fn read(store: &PostgresStore, bounds: Read) -> Seen {
    let mut seen = Seen::default();
    let mut events = store.read(bounds);
    while let Some(event) = events.next().await {
        seen.count(&event.expect("the read succeeds").data.bytes);
    }
    seen
}

async fn catch_up_with(store: &PostgresStore) -> Seen {
    let mut seen = Seen::default();
    let mut notices = store.subscribe(Subscribe::all());
    while let Some(notice) = notices.next().await {
        match notice.expect("the subscription goes on") {
            Notice::Event(event) => seen.count(&event.data.bytes),
            Notice::CaughtUp(_) => break,
        }
    }
    seen
}

async fn raw_tags(connection: &mut sqlx_postgres::PgConnection, tags: &[String]) -> f64 {
    let start = Instant::now();
    let mut events = 0;
    for tag in tags {
        events += rows::tag(connection, tag).await.events;
    }
    events as f64 / start.elapsed().as_secs_f64()
}

async fn read_tags(store: &PostgresStore, tags: &[String]) -> f64 {
    let start = Instant::now();
    let mut events = 0;
    for tag in tags {
        let tag = Tag::new(tag.as_str()).expect("the load's tags are valid");
        events += read(store, Read::query(Query::of(QueryItem::new().tag(tag)))).await.events;
    }
    events as f64 / start.elapsed().as_secs_f64()
}
