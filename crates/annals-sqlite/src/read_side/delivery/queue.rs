//! How deliveries come, wait, and are taken.

use std::collections::HashMap;

use annals_core::{
    Delivery, DeliveryId, Enqueue, EventId, EventRef, EventType, NewDelivery, StreamId,
    SubscriberName, Take, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::super::checkpoint::{Outcome, advance};
use super::super::subscriber::LAST_NUMBER;
use super::super::{stored_count, stored_limit};
use super::TAKEN;
use super::lane::{first, place, set_place};
use crate::number::{position, stored_position, stored_version, version};

pub(super) fn enqueue(connection: &Connection, enqueue: &Enqueue, now: Timestamp) -> Outcome<u64> {
    for moved in &enqueue.advances {
        if let Err(refused) = advance(connection, moved)? {
            return Ok(Err(refused));
        }
    }
    let (mut inboxes, mut added) = (HashMap::new(), 0);
    for delivery in &enqueue.deliveries {
        let inbox = match inboxes.get(&delivery.inbox) {
            Some(known) => *known,
            None => {
                let number = number_of(connection, &delivery.inbox)?;
                inboxes.insert(&delivery.inbox, number);
                number
            }
        };
        added += u64::from(add(connection, inbox, delivery, now)?);
    }
    Ok(Ok(added))
}

/// The number that stands for an inbox, a new one if need be.
fn number_of(connection: &Connection, inbox: &SubscriberName) -> Result<i64> {
    if let Some(known) = find_inbox(connection, inbox)? {
        return Ok(known);
    }
    connection
        .prepare_cached("INSERT INTO annals_inboxes (name) VALUES (?1)")?
        .insert([inbox.as_str()])
}

pub(in crate::read_side) fn find_inbox(
    connection: &Connection,
    inbox: &SubscriberName,
) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM annals_inboxes WHERE name = ?1")?
        .query_row([inbox.as_str()], |row| row.get(0))
        .optional()
}

/// Adds a delivery; whether it is a new one.
fn add(connection: &Connection, inbox: i64, new: &NewDelivery, now: Timestamp) -> Result<bool> {
    let first = match &new.lane {
        Some(lane) => first(connection, inbox, lane)?,
        None => None,
    };
    let stands = (stored_position(new.event.position), new.id.as_str());
    let is_first = first.as_ref().is_none_or(|first| stands < (first.position, &*first.id));
    let due_at = new.due_at.as_micros();
    let added = connection
        .prepare_cached(&format!(
            "INSERT INTO annals_deliveries
                 (id, inbox, state, open, place, wake_at, due_at, token, attempts, position, event,
                  stream, version, type, recipient, lane, enqueued_at)
             VALUES (?1, ?2, 0, 1, ?12, ?3, ?3, {LAST_NUMBER}, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO NOTHING",
        ))?
        .execute(rusqlite::params![
            new.id.as_str(),
            inbox,
            due_at,
            stands.0,
            new.event.id.as_bytes(),
            new.event.stream.as_str(),
            stored_version(new.event.version),
            new.event.event_type.as_str(),
            new.recipient,
            new.lane,
            now.as_micros(),
            is_first.then(|| place(due_at, now)),
        ])?;
    if added == 0 {
        return Ok(false);
    }
    // Deliveries come in the order of the log, but for those that are asked for by hand: one that
    // was first until now waits again.
    if let Some(first) = first.filter(|_| is_first) {
        set_place(connection, first.number, None)?;
    }
    Ok(true)
}

/// Whether there is anything to take.
pub(super) fn is_any_due(
    connection: &Connection,
    inbox: &SubscriberName,
    now: Timestamp,
) -> Result<bool> {
    if is_paused(connection, inbox)? {
        return Ok(false);
    }
    let Some(number) = find_inbox(connection, inbox)? else { return Ok(false) };
    let mut due = connection.prepare_cached(IS_ANY_DUE)?;
    let now = now.as_micros();
    Ok(due.exists((number, now, 1))? || due.exists((number, now, 0))?)
}

pub(super) const IS_ANY_DUE: &str =
    "SELECT 1 FROM annals_deliveries INDEXED BY annals_deliveries_placed
     WHERE place = ?3 AND inbox = ?1 AND wake_at <= ?2 LIMIT 1";

fn is_paused(connection: &Connection, inbox: &SubscriberName) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM annals_subscribers WHERE name = ?1 AND state = 1")?
        .exists([inbox.as_str()])
}

pub(super) fn take(connection: &Connection, take: &Take) -> Result<Vec<Delivery>> {
    if is_paused(connection, &take.inbox)? {
        return Ok(Vec::new());
    }
    let Some(inbox) = find_inbox(connection, &take.inbox)? else { return Ok(Vec::new()) };
    let now = take.now.as_micros();
    connection.prepare_cached(WAKE)?.execute((inbox, now))?;
    let mut ready = connection.prepare_cached(READY)?;
    let ready = ready.query_map((inbox, now, stored_limit(take.limit)), |row| {
        Ok((row.get(0)?, delivery(row, &take.inbox)?))
    })?;
    let ready: Vec<(i64, Delivery)> = ready.collect::<Result<_>>()?;
    let mut hide = connection.prepare_cached(
        "UPDATE annals_deliveries
         SET state = ?2, place = 0, wake_at = ?3, token = ?4, attempts = ?5 WHERE number = ?1",
    )?;
    for (number, taken) in &ready {
        let until = take.until.as_micros();
        hide.execute((number, TAKEN, until, stored_count(taken.token), taken.attempt))?;
    }
    Ok(ready.into_iter().map(|(_, delivery)| delivery).collect())
}

/// Those whose moment has come go where they wait in the order of their positions: once each
/// time, however often somebody asks.
pub(super) const WAKE: &str =
    "UPDATE annals_deliveries INDEXED BY annals_deliveries_placed SET place = 1
                    WHERE place = 0 AND inbox = ?1 AND wake_at <= ?2";

/// Clocks differ, so that one may be ahead of whoever woke a delivery.
pub(super) const READY: &str =
    "SELECT number, id, token, attempts, position, event, stream, version, type,
                            recipient, lane, enqueued_at
                     FROM annals_deliveries INDEXED BY annals_deliveries_ready
                     WHERE place = 1 AND inbox = ?1 AND wake_at <= ?2
                     ORDER BY position, id LIMIT ?3";

/// A delivery as it will be when it is taken.
fn delivery(row: &Row<'_>, inbox: &SubscriberName) -> Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId::from_stored(row.get::<_, String>(1)?),
        inbox: inbox.clone(),
        token: row.get::<_, i64>(2)?.unsigned_abs() + 1,
        attempt: row.get::<_, u32>(3)?.saturating_add(1),
        event: event(row, 4)?,
        recipient: row.get(9)?,
        lane: row.get(10)?,
        enqueued_at: Timestamp::from_micros(row.get(11)?),
    })
}

/// The event in five columns from `first` on.
pub(super) fn event(row: &Row<'_>, first: usize) -> Result<EventRef> {
    Ok(EventRef {
        position: position(row.get(first)?),
        id: EventId::from_bytes(row.get(first + 1)?),
        stream: StreamId::from_stored(row.get::<_, String>(first + 2)?),
        version: version(row.get(first + 3)?),
        event_type: EventType::from_stored(row.get::<_, String>(first + 4)?),
    })
}

pub(super) fn keep(
    connection: &Connection,
    taken: &[(DeliveryId, u64)],
    until: Timestamp,
) -> Result<()> {
    // One that lost its place to another in its lane does not get it back by that.
    let mut keep = connection.prepare_cached(
        "UPDATE annals_deliveries
         SET wake_at = ?3, place = CASE WHEN place IS NULL THEN NULL ELSE 0 END
         WHERE id = ?1 AND token = ?2 AND state = ?4",
    )?;
    for (id, token) in taken {
        keep.execute((id.as_str(), stored_count(*token), until.as_micros(), TAKEN))?;
    }
    Ok(())
}

pub(super) fn next_due(
    connection: &Connection,
    inbox: &SubscriberName,
) -> Result<Option<Timestamp>> {
    let Some(inbox) = find_inbox(connection, inbox)? else { return Ok(None) };
    let mut earliest = connection.prepare_cached(NEXT_DUE)?;
    let mut of = |place: i64| {
        earliest.query_row((inbox, place), |row| row.get(0).map(Timestamp::from_micros)).optional()
    };
    Ok([of(0)?, of(1)?].into_iter().flatten().min())
}

pub(super) const NEXT_DUE: &str =
    "SELECT wake_at FROM annals_deliveries INDEXED BY annals_deliveries_placed
     WHERE place = ?2 AND inbox = ?1 ORDER BY wake_at LIMIT 1";
