//! The comparison: the log as it is, with what was answered and what was delivered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use annals_core::{
    Append, EventId, EventStore, Position, Query, Read, Receipt, RecordedEvent, StreamId, Version,
};
use annals_postgres::PostgresStore;
use anyhow::{Result, ensure};
use futures_util::TryStreamExt;
use sqlx_core::query_as::query_as;
use sqlx_postgres::Postgres;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, DEADLINE};
use crate::follow::Seen;
use crate::ledger::{Closed, Entry, Refused};
use crate::load::{Door, Harvest};
use crate::log::Log;

/// How many breaches of a kind are shown.
const SHOWN_MAX: usize = 5;

/// Whether every promise was kept.
pub(crate) async fn verify(
    cluster: &Cluster,
    store: &PostgresStore,
    closed: Closed,
    harvest: &Harvest,
    log: Log,
) -> Result<bool> {
    let Closed { acknowledged, refused, unknown, broken, .. } = closed;
    let again = repeats(store, &unknown).await;
    let events: Vec<RecordedEvent> = store.read(Read::all()).try_collect().await?;
    log.say(format!("the log has {} events, up to position {}", events.len(), harvest.head));
    let check = |what: &str, breaches: Vec<String>| {
        let verdict = if breaches.is_empty() { "yes" } else { "NO" };
        log.say(format!("{what}: {verdict}"));
        for breach in breaches.iter().take(SHOWN_MAX) {
            log.say(format!("    {breach}"));
        }
        breaches.is_empty()
    };
    let rows = rows(store).await?;
    let mut kept = true;
    kept &= check("nothing was noticed on the way", broken);
    kept &= check("positions rise, and stream versions are dense", order(&events));
    kept &= check(
        &format!("each of {} acknowledged appends is where its receipt says", acknowledged.len()),
        receipts(&events, &acknowledged),
    );
    kept &= check("nothing else is in the log", nothing_else(&events, &acknowledged));
    kept &= check(
        &format!("nothing is in the log of {} appends that were refused", refused.len()),
        absent(&events, &refused),
    );
    kept &= check("no claim was granted twice", claims(&events));
    kept &= check(
        &format!(
            "each of {} appends that were unknown, then acknowledged, has the same receipt again",
            unknown.len()
        ),
        again,
    );
    for seen in &harvest.seen {
        let Seen { name, events: given, subscriptions, .. } = seen;
        kept &= check(
            &format!(
                "the subscriber {name} saw what it should, once and in order ({} events, {} \
                 subscriptions)",
                given.len(),
                subscriptions
            ),
            delivered(&events, seen),
        );
    }
    let retries = harvest.retries;
    kept &= check(
        &format!(
            "the application's {} rows are its events ({} commits of unknown outcome and {} \
             other failures repeated)",
            rows.len(),
            retries.unknown,
            retries.not_now
        ),
        application(&events, &rows),
    );
    kept &= check("all nodes hold the same log", nodes(cluster, &events).await?);
    Ok(kept)
}

fn order(events: &[RecordedEvent]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut versions = HashMap::<&StreamId, Version>::new();
    let mut ids = HashSet::new();
    let mut last = Position::START;
    for event in events {
        let RecordedEvent { position, stream, version, id, .. } = event;
        if *position <= last {
            breaches.push(format!("position {position} after {last}"));
        }
        last = *position;
        let before = versions.insert(stream, *version).unwrap_or(Version::EMPTY);
        if *version != before.next() {
            breaches.push(format!("{stream} has version {version} after {before}"));
        }
        if !ids.insert(id) {
            breaches.push(format!("event {id} is there twice"));
        }
    }
    breaches
}

fn receipts(events: &[RecordedEvent], acknowledged: &[Entry]) -> Vec<String> {
    let breach = |entry: &Entry| {
        let receipt = &entry.receipt;
        let first = events.partition_point(|event| event.position < receipt.first_position);
        let wanted: Vec<(&StreamId, EventId)> = entry
            .parts
            .iter()
            .flat_map(|(stream, ids)| ids.iter().map(move |id| (stream, *id)))
            .collect();
        let found = events.get(first..first + wanted.len()).unwrap_or_default();
        let same = found.iter().map(|event| (&event.stream, event.id)).eq(wanted.iter().copied());
        let ends = |events: &[RecordedEvent]| {
            let last = events.last()?;
            Some((events.first()?.position, last.position, last.recorded_at))
        };
        let told = (receipt.first_position, receipt.last_position, receipt.recorded_at);
        let versions = receipt.streams.iter().all(|part| {
            let last = found.iter().rev().find(|event| event.stream == part.stream);
            last.is_some_and(|event| event.version == part.version)
        });
        let right = same && ends(found) == Some(told) && versions;
        (!right).then(|| {
            let lost = wanted.iter().filter(|(_, id)| !events.iter().any(|e| e.id == *id)).count();
            format!("{lost} of its {} events are lost: {receipt:?}", wanted.len())
        })
    };
    acknowledged.iter().filter_map(breach).collect()
}

fn nothing_else(events: &[RecordedEvent], acknowledged: &[Entry]) -> Vec<String> {
    let known: HashSet<EventId> = acknowledged
        .iter()
        .flat_map(|entry| entry.parts.iter().flat_map(|(_, ids)| ids))
        .copied()
        .collect();
    let strange = events.iter().filter(|event| !known.contains(&event.id));
    strange.map(|event| format!("nobody knows {} at {}", event.id, event.position)).collect()
}

fn absent(events: &[RecordedEvent], refused: &[Refused]) -> Vec<String> {
    let there: HashSet<EventId> = events.iter().map(|event| event.id).collect();
    let stored = refused.iter().filter(|refused| refused.ids.iter().any(|id| there.contains(id)));
    stored.map(|refused| format!("it is stored, but was answered: {}", refused.answer)).collect()
}

/// Repeats once more what was repeated until it was acknowledged. What it would write a second
/// time is found in the log.
async fn repeats(store: &PostgresStore, unknown: &[(Append, Receipt)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (append, receipt) in unknown {
        match store.append(append.clone()).await {
            Ok(again) if again == *receipt => {}
            answer => breaches.push(format!("{receipt:?} became {answer:?}")),
        }
    }
    breaches
}

fn claims(events: &[RecordedEvent]) -> Vec<String> {
    let mut granted = HashSet::new();
    let tags = events.iter().flat_map(|event| &event.tags).filter(|tag| tag.starts_with("claim:"));
    tags.filter(|tag| !granted.insert(tag.to_owned())).map(|tag| format!("{tag} twice")).collect()
}

fn delivered(events: &[RecordedEvent], seen: &Seen) -> Vec<String> {
    let matching = |query: &Query| -> Vec<(Position, EventId)> {
        let matching = events.iter().filter(|event| query.matches(event));
        matching.map(|event| (event.position, event.id)).collect()
    };
    if seen.subscriptions > 1 && !seen.starts_again {
        return vec![format!("it had to subscribe {} times", seen.subscriptions)];
    }
    let wanted = matching(&seen.query);
    if wanted == seen.events {
        return Vec::new();
    }
    let (there, given): (BTreeSet<_>, BTreeSet<_>) =
        (wanted.iter().collect(), seen.events.iter().collect());
    let missed = there.difference(&given).count();
    let phantom = given.difference(&there).count();
    vec![format!(
        "{} events were given, {} are there; {missed} were missed, {phantom} are not in the log; \
         the first missed: {:?}; the first that is not there: {:?}",
        seen.events.len(),
        wanted.len(),
        there.difference(&given).next(),
        given.difference(&there).next()
    )]
}

/// The application's rows: the number and the id of the event.
async fn rows(store: &PostgresStore) -> Result<BTreeSet<(i64, String)>> {
    let rows = query_as::<Postgres, (i64, String)>("SELECT number, event FROM orders");
    Ok(rows.fetch_all(store.pool()).await?.into_iter().collect())
}

fn application(events: &[RecordedEvent], rows: &BTreeSet<(i64, String)>) -> Vec<String> {
    let orders = events.iter().filter_map(|event| {
        let number = event.stream.as_str().strip_prefix("order-")?.parse().ok()?;
        Some((number, event.id.to_string()))
    });
    let orders: BTreeSet<(i64, String)> = orders.collect();
    let breaches = orders.symmetric_difference(rows);
    breaches.map(|(number, _)| format!("order {number} is only a row or only an event")).collect()
}

/// What each node holds, as soon as it has everything.
async fn nodes(cluster: &Cluster, events: &[RecordedEvent]) -> Result<Vec<String>> {
    let digest = "SELECT count(*), coalesce(max(position), 0), \
                  coalesce(sum(hashtextextended(id::text || stream || version, position)), 0)::text \
                  FROM annals.events";
    let mut digests: Vec<(i64, i64, String)> = Vec::new();
    let wanted = i64::try_from(events.len())?;
    for node in &cluster.nodes {
        let pool = Door::at(node.sql).pool("app");
        let deadline = Instant::now() + DEADLINE;
        loop {
            match query_as::<Postgres, _>(digest).fetch_one(&pool).await {
                Ok(found) if (&found as &(i64, i64, String)).0 >= wanted => {
                    digests.push(found);
                    break;
                }
                found => ensure!(Instant::now() < deadline, "{} has {found:?}", node.name),
            }
            sleep(Duration::from_millis(200)).await;
        }
        pool.close().await;
    }
    let same = digests.iter().all(|digest| *digest == digests[0]) && digests[0].0 == wanted;
    Ok(if same { Vec::new() } else { vec![format!("{wanted} events are in the log: {digests:?}")] })
}
