//! Where a stream, and the log, stand: the small look-ups that everything else is built on.

use annals_core::{StreamId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result};

/// The newest event of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newest {
    pub(crate) position: i64,
    pub(crate) recorded_at: Timestamp,
}

impl Newest {
    /// What stands for the newest event of an empty log.
    pub(crate) const NONE: Self = Self { position: 0, recorded_at: Timestamp::MIN };
}

pub(crate) fn newest(connection: &Connection) -> Result<Newest> {
    let mut statement = connection.prepare_cached(
        "SELECT position, recorded_at FROM annals_events ORDER BY position DESC LIMIT 1",
    )?;
    let newest = statement
        .query_row([], |row| {
            let recorded_at = Timestamp::from_micros(row.get(1)?);
            Ok(Newest { position: row.get(0)?, recorded_at })
        })
        .optional()?;
    Ok(newest.unwrap_or(Newest::NONE))
}

pub(crate) fn newest_position(connection: &Connection) -> Result<i64> {
    newest(connection).map(|newest| newest.position)
}

/// The position of the last event recorded at `moment` or before, up to `newest`.
///
/// In this store `recorded_at` never decreases along the log, so it can be searched.
pub(crate) fn position_as_at(
    connection: &Connection,
    newest: Newest,
    moment: Timestamp,
) -> Result<i64> {
    if newest.recorded_at <= moment {
        return Ok(newest.position);
    }
    let mut probe = connection.prepare_cached(
        "SELECT recorded_at FROM annals_events WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
    )?;
    let first_after = search(1, newest.position, |position| {
        let recorded_at = probe.query_row([position], |row| row.get::<_, i64>(0)).optional()?;
        Ok(recorded_at.is_some_and(|micros| micros > moment.as_micros()))
    })?;
    Ok(first_after - 1)
}

/// The version of a stream's last event; 0 when it has none.
pub(crate) fn head_version(connection: &Connection, stream: &StreamId) -> Result<i64> {
    let mut statement = connection.prepare_cached(
        "SELECT version FROM annals_events WHERE stream = ?1 ORDER BY version DESC LIMIT 1",
    )?;
    let version = statement.query_row([stream.as_str()], |row| row.get(0)).optional()?;
    Ok(version.unwrap_or(0))
}

/// The version a stream had when the log had reached `position`; 0 before its first event.
pub(crate) fn version_at(connection: &Connection, stream: &StreamId, position: i64) -> Result<i64> {
    if position <= 0 {
        return Ok(0);
    }
    let mut probe = connection
        .prepare_cached("SELECT position FROM annals_events WHERE stream = ?1 AND version = ?2")?;
    let mut stands_after = |version: i64| -> Result<bool> {
        let found: i64 = probe.query_row((stream.as_str(), version), |row| row.get(0))?;
        Ok(found > position)
    };
    let head = head_version(connection, stream)?;
    // Most questions are about the stream's end.
    if head == 0 || !stands_after(head)? {
        return Ok(head);
    }
    Ok(search(1, head, stands_after)? - 1)
}

/// The smallest number in `low..=high` for which `holds`, which must hold for `high` and for
/// everything above the smallest.
fn search(low: i64, high: i64, mut holds: impl FnMut(i64) -> Result<bool>) -> Result<i64> {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}
