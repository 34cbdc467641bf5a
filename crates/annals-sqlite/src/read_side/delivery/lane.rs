//! Lanes: of the open deliveries in one, only the first can be taken.
//!
//! Only that one has a place in the queue, so that whoever takes never passes over those behind
//! it. Whenever a lane has got another first delivery, that one is given its place.

use annals_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result};

use super::{TAKEN, WAITING};

/// The first delivery of a lane that is neither done nor skipped.
pub(super) struct First {
    pub(super) number: i64,
    pub(super) position: i64,
    pub(super) id: String,
    state: i64,
    wake_at: i64,
}

pub(super) fn first(connection: &Connection, inbox: i64, lane: &str) -> Result<Option<First>> {
    connection
        .prepare_cached(FIRST)?
        .query_row((inbox, lane), |row| {
            Ok(First {
                number: row.get(0)?,
                position: row.get(1)?,
                id: row.get(2)?,
                state: row.get(3)?,
                wake_at: row.get(4)?,
            })
        })
        .optional()
}

pub(super) const FIRST: &str =
    "SELECT number, position, id, state, wake_at FROM annals_deliveries INDEXED BY annals_deliveries_lanes
     WHERE open = 1 AND inbox = ?1 AND lane = ?2 ORDER BY position, id LIMIT 1";

/// Gives the first delivery of a lane its place, unless it is dead.
pub(super) fn call_first(
    connection: &Connection,
    inbox: i64,
    lane: &str,
    now: Timestamp,
) -> Result<()> {
    match first(connection, inbox, lane)? {
        Some(first) if first.state == WAITING || first.state == TAKEN => {
            set_place(connection, first.number, Some(place(first.wake_at, now)))
        }
        _ => Ok(()),
    }
}

/// Where a delivery that can be taken waits.
pub(super) fn place(wake_at: i64, now: Timestamp) -> i64 {
    i64::from(wake_at <= now.as_micros())
}

pub(super) fn set_place(connection: &Connection, number: i64, place: Option<i64>) -> Result<()> {
    connection
        .prepare_cached("UPDATE annals_deliveries SET place = ?2 WHERE number = ?1")?
        .execute((number, place))?;
    Ok(())
}
