//! What comes of attempts.

use annals_core::{Attempt, Settled, Then, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result};

use super::super::stored_count;
use super::lane::{call_first, place};
use super::{DEAD, DONE, TAKEN, WAITING, cut};

pub(super) fn settle(connection: &Connection, settled: &[Settled], now: Timestamp) -> Result<()> {
    settled.iter().try_for_each(|settled| settle_one(connection, settled, now))
}

/// A delivery as an attempt left it.
struct Attempted {
    number: i64,
    inbox: i64,
    lane: Option<String>,
    attempts: u32,
}

fn settle_one(connection: &Connection, settled: &Settled, now: Timestamp) -> Result<()> {
    let found = connection
        .prepare_cached(
            "SELECT number, inbox, lane, attempts, state = ?3 AND token = ?2
             FROM annals_deliveries WHERE id = ?1",
        )?
        .query_row((settled.id.as_str(), stored_count(settled.token), TAKEN), |row| {
            let attempted = Attempted {
                number: row.get(0)?,
                inbox: row.get(1)?,
                lane: row.get(2)?,
                attempts: row.get(3)?,
            };
            Ok((attempted, row.get::<_, bool>(4)?))
        })
        .optional()?;
    let Some((found, goes_on)) = found else { return Ok(()) };
    if let Some(attempt) = &settled.attempt {
        remember(connection, found.number, settled.token, attempt)?;
    }
    if !goes_on {
        // Another attempt has begun, or somebody asks again because an answer was lost.
        return Ok(());
    }
    let error = settled.attempt.as_ref().and_then(|attempt| attempt.error.as_deref()).map(cut);
    go_on(connection, &found, settled.then, error, now)
}

/// Remembers an attempt, unless it is known or succeeded at once.
fn remember(connection: &Connection, delivery: i64, token: u64, attempt: &Attempt) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO annals_attempts (delivery, token, number, begun_at, micros, error, note)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
             WHERE ?6 IS NOT NULL OR EXISTS (SELECT 1 FROM annals_attempts WHERE delivery = ?1)
             ON CONFLICT DO NOTHING",
        )?
        .execute((
            delivery,
            stored_count(token),
            attempt.number,
            attempt.at.as_micros(),
            i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX),
            attempt.error.as_deref().map(cut),
            attempt.note.as_deref().map(cut),
        ))?;
    Ok(())
}

fn go_on(
    connection: &Connection,
    delivery: &Attempted,
    then: Then,
    error: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let (number, lane) = (delivery.number, delivery.lane.as_deref());
    match then {
        Then::Done => {
            connection
                .prepare_cached(
                    "UPDATE annals_deliveries SET state = ?2, open = NULL, place = NULL,
                         settled_at = ?3, last_error = coalesce(?4, last_error)
                     WHERE number = ?1",
                )?
                .execute((number, DONE, now.as_micros(), error))?;
        }
        Then::Again(due_at) | Then::GiveBack(due_at) => {
            let uncounted = u32::from(matches!(then, Then::GiveBack(_)));
            let due_at = due_at.as_micros();
            // In a lane, its first gets the place; this one need not be it any more.
            let place = lane.is_none().then(|| place(due_at, now));
            connection
                .prepare_cached(
                    "UPDATE annals_deliveries SET state = ?2, place = ?3, wake_at = ?4, due_at = ?4,
                         attempts = ?5, last_error = coalesce(?6, last_error)
                     WHERE number = ?1",
                )?
                .execute((
                    number,
                    WAITING,
                    place,
                    due_at,
                    delivery.attempts.saturating_sub(uncounted),
                    error,
                ))?;
        }
        Then::Dead => {
            connection
                .prepare_cached(
                    "UPDATE annals_deliveries SET state = ?2, place = NULL,
                         last_error = coalesce(?3, last_error)
                     WHERE number = ?1",
                )?
                .execute((number, DEAD, error))?;
        }
    }
    lane.map_or(Ok(()), |lane| call_first(connection, delivery.inbox, lane, now))
}
