//! What append conditions cost over a large store, for the caller and for its neighbours.

use std::time::{Duration, Instant};

use annals_bench_report::median;
use annals_core::{
    Append, AppendCondition, AppendError, Category, Data, EventStore, EventType, ExpectedVersion,
    NewEvent, Position, Query, QueryItem, StreamId, Tag,
};
use annals_sqlite::SqliteStore;

/// Fills a store with events whose types, tags and categories are common or rare, and measures
/// appends under every kind of condition, from the beginning and from near the end.
///
/// Half of the events are even, half are odd: lists of a million entries that never meet.
pub async fn measure(events: u64, appends: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(directory.path().join("annals.db")).expect("the store opens");
    fill(&store, events).await;
    let head = store.head().await.expect("the head is known");
    let near = Position::new(head.get() - 100);
    println!("appends under a condition, {events} events in the store, medians of {appends}");
    println!("| condition | from the beginning | from near the end | a neighbour meanwhile |");
    println!("|---|---|---|---|");
    let plain = latency(&store, None, appends).await;
    println!("| none | {} | | |", micros(plain));
    for (name, query) in queries() {
        let start = AppendCondition::none_match(query.clone());
        let (from_start, neighbour) = beside_neighbour(&store, start, appends).await;
        let end = AppendCondition::none_match_after(query, near);
        let from_near = latency(&store, Some(end), appends).await;
        println!(
            "| {name} | {} ({:.1}x) | {} ({:.1}x) | {} ({:.1}x) |",
            micros(from_start),
            from_start.as_secs_f64() / plain.as_secs_f64(),
            micros(from_near),
            from_near.as_secs_f64() / plain.as_secs_f64(),
            micros(neighbour),
            neighbour.as_secs_f64() / plain.as_secs_f64(),
        );
    }
    store.close().await;
}

/// Conditions that hold, and such that are broken by the very first event, by kind.
fn queries() -> Vec<(&'static str, Query)> {
    let types = |names: &[&'static str]| {
        QueryItem::new().types(names.iter().copied().map(EventType::from_static))
    };
    let tag = Tag::from_static;
    let item = QueryItem::new;
    let category = Category::from_static;
    vec![
        ("a type that never occurs", Query::of(types(&["Never"]))),
        ("a type of 1 event in 2", Query::of(types(&["Even"]))),
        ("four types", Query::of(types(&["Never", "Even", "Odd", "Nowhere"]))),
        ("a tag that never occurs", Query::of(item().tag(tag("user:none")))),
        ("a tag of 20 events", Query::of(item().tag(tag("user:7")))),
        ("a tag of 1 event in 2", Query::of(item().tag(tag("half:even")))),
        ("two tags that never meet, one rare", {
            Query::of(item().tag(tag("half:even")).tag(tag("user:7")))
        }),
        ("a type and a tag of half that never meet", {
            Query::of(types(&["Odd"]).tag(tag("half:even")))
        }),
        ("a type and a rare tag that never meet", Query::of(types(&["Odd"]).tag(tag("user:8")))),
        ("a category", Query::of(item().category(category("even")))),
        ("a category and a type that never meet", {
            Query::of(types(&["Odd"]).category(category("even")))
        }),
        ("a category and a tag that never meet", {
            Query::of(item().category(category("odd")).tag(tag("half:even")))
        }),
        ("a stream", Query::stream(StreamId::from_static("even-8"))),
        ("a stream and a type that never meet", {
            Query::of(types(&["Odd"]).stream(StreamId::from_static("even-8")))
        }),
        ("eight items of all kinds", {
            (0..8).map(|n| item().tag(Tag::of("user", n).expect("a tag"))).collect()
        }),
    ]
}

async fn fill(store: &SqliteStore, events: u64) {
    let streams = events / 20;
    let mut written = 0;
    while written < events {
        let mut append = Append::default();
        for number in (written..events).take(1_000) {
            let half = if number % 2 == 0 { "even" } else { "odd" };
            let event_type = if number % 2 == 0 { "Even" } else { "Odd" };
            let event = NewEvent::new(EventType::from_static(event_type), Data::json("{}"))
                .tagged(Tag::of("half", half).expect("a tag"))
                .tagged(Tag::of("user", number % streams).expect("a tag"));
            let stream = StreamId::of(half, number % streams).expect("a stream id");
            match append.streams.iter_mut().find(|part| part.stream == stream) {
                Some(part) => part.events.push(event),
                None => append = append.and_to(stream, ExpectedVersion::Any, [event]),
            }
            if append.streams.len() == 500 {
                break;
            }
        }
        written += append.events().count() as u64;
        store.append(append).await.expect("the append succeeds");
    }
}

/// The median time of an append, whether its condition holds or not.
async fn latency(
    store: &SqliteStore,
    condition: Option<AppendCondition>,
    count: usize,
) -> Duration {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(append(store, condition.clone()).await);
    }
    Duration::from_secs_f64(median(&times))
}

/// The median time of a conditional append, and of an unconditional one that runs beside it.
async fn beside_neighbour(
    store: &SqliteStore,
    condition: AppendCondition,
    count: usize,
) -> (Duration, Duration) {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..count {
        own.push(append(store, Some(condition.clone())).await);
        let (_, neighbour) =
            tokio::join!(append(store, Some(condition.clone())), append(store, None));
        other.push(neighbour);
    }
    (Duration::from_secs_f64(median(&own)), Duration::from_secs_f64(median(&other)))
}

async fn append(store: &SqliteStore, condition: Option<AppendCondition>) -> f64 {
    let event = NewEvent::new(EventType::from_static("Measured"), Data::json("{}"));
    let stream = StreamId::from_static("measured-1");
    let mut append = Append::to(stream, ExpectedVersion::Any, [event]);
    append.conditions.extend(condition);
    let start = Instant::now();
    match store.append(append).await {
        Ok(_) | Err(AppendError::Conflict(_)) => start.elapsed().as_secs_f64(),
        Err(error) => panic!("the append neither succeeds nor conflicts: {error:?}"),
    }
}

fn micros(duration: Duration) -> String {
    format!("{} us", duration.as_micros())
}
