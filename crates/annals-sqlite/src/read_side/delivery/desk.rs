//! What people see of deliveries, and decide about them.

use std::collections::BTreeSet;
use std::time::Duration;

use annals_core::{
    Attempt, DeliveryId, DeliveryInfo, DeliveryState, InboxInfo, Position, SelectDeliveries,
    SubscriberName, Timestamp, UsedBy,
};
use rusqlite::{Connection, Params, Result, Row, named_params};

use super::super::stored_limit;
use super::super::subscriber::raise_last_number;
use super::lane::call_first;
use super::queue::{event, find_inbox};
use super::{DEAD, SKIPPED, TAKEN, WAITING, state_number, state_of};
use crate::number::stored_position;

/// A delivery, and where it is kept.
pub(super) struct Found {
    number: i64,
    inbox: i64,
    pub(super) info: DeliveryInfo,
}

/// The same statement over the index that fits.
macro_rules! select {
    ($index:literal, $where:literal) => {
        concat!(
            "SELECT d.number, d.inbox, d.id, i.name, d.state, d.attempts, d.due_at, d.enqueued_at,
                    d.last_error, d.skipped, d.recipient, d.lane,
                    d.position, d.event, d.stream, d.version, d.type
             FROM annals_deliveries d ",
            $index,
            " CROSS JOIN annals_inboxes i ON i.id = d.inbox WHERE ",
            $where,
            " AND (:id IS NULL OR d.id = :id)
              AND (:inbox IS NULL OR d.inbox = :inbox)
              AND (:state IS NULL OR d.state = :state)
              AND (:type IS NULL OR d.type = :type)
              AND (:stream IS NULL OR d.stream = :stream)
              AND (:recipient IS NULL OR d.recipient = :recipient)
              AND (d.position, d.id) > (:position, :behind)
             ORDER BY d.position, d.id LIMIT :limit"
        )
    };
}

pub(super) const BY_ID: &str = select!("", "d.id = :id");
pub(super) const ALL: &str = select!("INDEXED BY annals_deliveries_by_position", "true");
pub(super) const OPEN_ONES: &str = select!("INDEXED BY annals_deliveries_open", "d.open = 1");
pub(super) const DEAD_ONES: &str = select!("INDEXED BY annals_deliveries_dead", "d.state = 2");
pub(super) const ALL_OF_INBOX: &str =
    select!("INDEXED BY annals_deliveries_of_inbox", "d.inbox = :inbox");
pub(super) const OPEN_OF_INBOX: &str =
    select!("INDEXED BY annals_deliveries_open", "d.open = 1 AND d.inbox = :inbox");
pub(super) const DEAD_OF_INBOX: &str =
    select!("INDEXED BY annals_deliveries_dead", "d.state = 2 AND d.inbox = :inbox");

/// Which deliveries are looked through for those that are selected.
#[derive(Clone, Copy)]
pub(super) enum Among {
    All,
    Open,
    Dead,
}

impl Among {
    /// Where those are that are to be seen. Most deliveries are made, so that whoever wants others
    /// never looks at these.
    pub(super) fn to_see(which: &SelectDeliveries) -> Self {
        match which.state {
            Some(DeliveryState::Waiting | DeliveryState::Taken) => Self::Open,
            Some(DeliveryState::Dead) => Self::Dead,
            _ => Self::All,
        }
    }

    /// Where those are that can still be decided on.
    pub(super) fn to_decide(which: &SelectDeliveries) -> Self {
        match which.state {
            Some(DeliveryState::Dead) => Self::Dead,
            _ => Self::Open,
        }
    }
}

/// Those that are selected, by position and then by id.
pub(super) fn select(
    connection: &Connection,
    which: &SelectDeliveries,
    among: Among,
    limit: usize,
) -> Result<Vec<Found>> {
    let inbox = match &which.inbox {
        Some(name) => match find_inbox(connection, name)? {
            Some(inbox) => Some(inbox),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    let statement = match (&which.id, inbox, among) {
        (Some(_), ..) => BY_ID,
        (None, None, Among::All) => ALL,
        (None, None, Among::Open) => OPEN_ONES,
        (None, None, Among::Dead) => DEAD_ONES,
        (None, Some(_), Among::All) => ALL_OF_INBOX,
        (None, Some(_), Among::Open) => OPEN_OF_INBOX,
        (None, Some(_), Among::Dead) => DEAD_OF_INBOX,
    };
    let mut select = connection.prepare_cached(statement)?;
    let (after, behind) = which.after.clone().unzip();
    let found = select.query_map(
        named_params! {
            ":id": which.id.as_ref().map(DeliveryId::as_str),
            ":inbox": inbox,
            ":state": which.state.map(state_number),
            ":type": which.event_type.as_ref().map(|name| name.as_str()),
            ":stream": which.stream.as_ref().map(|name| name.as_str()),
            ":recipient": which.recipient,
            ":position": stored_position(after.unwrap_or(Position::START)),
            ":behind": behind.as_ref().map_or("", DeliveryId::as_str),
            ":limit": stored_limit(limit),
        },
        found,
    )?;
    found.collect()
}

fn found(row: &Row<'_>) -> Result<Found> {
    let info = DeliveryInfo {
        id: DeliveryId::from_stored(row.get::<_, String>(2)?),
        inbox: SubscriberName::from_stored(row.get::<_, String>(3)?),
        state: state_of(row.get(4)?),
        attempts: row.get(5)?,
        due_at: Timestamp::from_micros(row.get(6)?),
        enqueued_at: Timestamp::from_micros(row.get(7)?),
        last_error: row.get(8)?,
        skipped: row.get(9)?,
        recipient: row.get(10)?,
        lane: row.get(11)?,
        event: event(row, 12)?,
    };
    Ok(Found { number: row.get(0)?, inbox: row.get(1)?, info })
}

pub(super) fn attempts(connection: &Connection, id: &DeliveryId) -> Result<Vec<Attempt>> {
    let mut select = connection.prepare_cached(
        "SELECT a.number, a.begun_at, a.micros, a.error, a.note
         FROM annals_deliveries d JOIN annals_attempts a ON a.delivery = d.number
         WHERE d.id = ?1 ORDER BY a.token",
    )?;
    let attempts = select.query_map([id.as_str()], |row| {
        Ok(Attempt {
            number: row.get(0)?,
            at: Timestamp::from_micros(row.get(1)?),
            duration: Duration::from_micros(row.get::<_, i64>(2)?.unsigned_abs()),
            error: row.get(3)?,
            note: row.get(4)?,
        })
    })?;
    attempts.collect()
}

/// Makes those of them due that failed; how many these are.
pub(super) fn retry(connection: &Connection, found: &[Found], now: Timestamp) -> Result<u64> {
    let mut update = connection.prepare_cached(
        "UPDATE annals_deliveries
         SET state = ?2, attempts = 0, wake_at = ?3, due_at = ?3, place = ?4
         WHERE number = ?1 AND (state = ?5 OR (state = ?2 AND attempts > 0))",
    )?;
    decide(connection, found, now, |found| {
        let place = found.info.lane.is_none().then_some(1);
        update.execute((found.number, WAITING, now.as_micros(), place, DEAD))
    })
}

/// Skips those of them that wait or are dead; how many these are.
pub(super) fn skip(
    connection: &Connection,
    found: &[Found],
    reason: &str,
    now: Timestamp,
) -> Result<u64> {
    let mut update = connection.prepare_cached(
        "UPDATE annals_deliveries
         SET state = ?2, open = NULL, place = NULL, settled_at = ?3, skipped = ?4
         WHERE number = ?1 AND state IN (?5, ?6)",
    )?;
    decide(connection, found, now, |found| {
        update.execute((found.number, SKIPPED, now.as_micros(), reason, WAITING, DEAD))
    })
}

/// Decides on each, and calls the first delivery of every lane that this concerned.
fn decide(
    connection: &Connection,
    found: &[Found],
    now: Timestamp,
    mut update: impl FnMut(&Found) -> Result<usize>,
) -> Result<u64> {
    let (mut decided, mut lanes) = (0, BTreeSet::new());
    for found in found {
        let changed = update(found)?;
        decided += changed as u64;
        if let Some(lane) = found.info.lane.as_deref().filter(|_| changed > 0) {
            lanes.insert((found.inbox, lane));
        }
    }
    for (inbox, lane) in lanes {
        call_first(connection, inbox, lane, now)?;
    }
    Ok(decided)
}

/// Every inbox that ever had a delivery.
pub(super) fn names(connection: &Connection) -> Result<Vec<SubscriberName>> {
    let mut select = connection.prepare_cached("SELECT name FROM annals_inboxes")?;
    let names =
        select.query_map((), |row| Ok(SubscriberName::from_stored(row.get::<_, String>(0)?)))?;
    names.collect()
}

pub(super) fn inboxes(connection: &Connection) -> Result<Vec<InboxInfo>> {
    let mut select = connection.prepare_cached(INBOXES)?;
    let inboxes = select.query_map((WAITING, TAKEN, DEAD), |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(InboxInfo {
            inbox: SubscriberName::from_stored(row.get::<_, String>(0)?),
            waiting: count(1)?,
            retrying: count(2)?,
            taken: count(3)?,
            dead: count(4)?,
            oldest: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        })
    })?;
    inboxes.collect()
}

pub(super) const INBOXES: &str = "SELECT i.name,
            count(*) FILTER (WHERE d.state = ?1 AND d.attempts = 0),
            count(*) FILTER (WHERE d.state = ?1 AND d.attempts > 0),
            count(*) FILTER (WHERE d.state = ?2),
            count(*) FILTER (WHERE d.state = ?3),
            min(d.enqueued_at) FILTER (WHERE d.state <> ?3)
     FROM annals_deliveries d INDEXED BY annals_deliveries_open
     CROSS JOIN annals_inboxes i ON i.id = d.inbox
     WHERE d.open = 1 GROUP BY d.inbox ORDER BY i.name";

pub(super) fn forget(
    connection: &Connection,
    inbox: &SubscriberName,
    before: Timestamp,
    limit: usize,
) -> Result<u64> {
    let of = (inbox.as_str(), before.as_micros(), stored_limit(limit));
    delete(connection, OLD, of).map(|forgotten| forgotten as u64)
}

pub(super) const OLD: &str = "SELECT number, token FROM annals_deliveries
     WHERE inbox = (SELECT id FROM annals_inboxes WHERE name = ?1)
         AND settled_at IS NOT NULL AND settled_at < ?2 ORDER BY settled_at LIMIT ?3";

/// Deletes deliveries of an inbox, however they stand; how many these were. Its lanes go from
/// their ends, so that what is left of one still begins where it did.
pub(in crate::read_side) fn delete_deliveries(
    connection: &Connection,
    inbox: i64,
    limit: usize,
) -> Result<usize> {
    delete(connection, LAST_OF_INBOX, (inbox, stored_limit(limit)))
}

pub(super) const LAST_OF_INBOX: &str = "SELECT number, token FROM annals_deliveries
         INDEXED BY annals_deliveries_of_inbox
     WHERE inbox = ?1 ORDER BY position DESC, id DESC LIMIT ?2";

/// Deletes the deliveries that a statement finds, with their attempts; how many these were.
fn delete(connection: &Connection, which: &str, of: impl Params) -> Result<usize> {
    let mut select = connection.prepare_cached(which)?;
    let found = select.query_map(of, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, i64)> = found.collect::<Result<_>>()?;
    let mut delete =
        connection.prepare_cached("DELETE FROM annals_deliveries WHERE number = ?1")?;
    let mut of = connection.prepare_cached("DELETE FROM annals_attempts WHERE delivery = ?1")?;
    for (number, _) in &found {
        of.execute([number])?;
        delete.execute([number])?;
    }
    if let Some(last) = found.iter().map(|(_, token)| *token).max() {
        raise_last_number(connection, last)?;
    }
    Ok(found.len())
}

/// Whether somebody makes deliveries of an inbox, and is not overdue.
pub(in crate::read_side) fn used_by_takers(
    connection: &Connection,
    inbox: Option<i64>,
    now: Timestamp,
) -> Result<Option<UsedBy>> {
    let (deliveries, until) = connection
        .prepare_cached(TAKEN_NOW)?
        .query_row((inbox, TAKEN, now.as_micros()), |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Option<i64>>(1)?))
        })?;
    Ok(until.map(|until| UsedBy::Deliveries { deliveries, until: Timestamp::from_micros(until) }))
}

pub(super) const TAKEN_NOW: &str = "SELECT count(*), max(wake_at) FROM annals_deliveries
         INDEXED BY annals_deliveries_open
     WHERE open = 1 AND inbox = ?1 AND state = ?2 AND wake_at > ?3";
