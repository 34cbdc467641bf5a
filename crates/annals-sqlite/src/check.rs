//! Checking a file before it is used.

use rusqlite::Connection;

use crate::fault::OpenError;

/// How thoroughly a file is checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Check {
    /// The newest events and every index over them: some milliseconds, whatever the size.
    #[default]
    Tail,
    /// Every page, every event and every index: minutes for gigabytes.
    Full,
}

/// How many of the newest events are checked against their indexes when opening.
const TAIL_EVENTS: i64 = 256;

/// Looks for damage, as thoroughly as asked.
pub(crate) fn check(connection: &Connection, check: Check) -> Result<(), OpenError> {
    match check {
        Check::Tail => check_events(connection, TAIL_EVENTS),
        Check::Full => {
            check_pages(connection)?;
            check_events(connection, i64::MAX)?;
            check_positions(connection)?;
            check_tags(connection)?;
            check_totals(connection)
        }
    }
}

fn check_pages(connection: &Connection) -> Result<(), OpenError> {
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Damaged(verdict)) }
}

/// What must hold of every event, each as a query for one that breaks it among the newest.
///
/// Each reads the table by position and asks an index about it, so that both must agree.
const FAULTS: &[(&str, &str)] = &[
    (
        "is missing from the index of its stream, or another event has its place there",
        "NOT EXISTS (SELECT 1 FROM annals_events i INDEXED BY annals_events_by_stream
                     WHERE i.stream = e.stream AND i.version = e.version AND i.position = e.position)",
    ),
    (
        "does not follow the version before it",
        "e.version > 1 AND NOT EXISTS (
             SELECT 1 FROM annals_events b INDEXED BY annals_events_by_stream
             WHERE b.stream = e.stream AND b.version = e.version - 1 AND b.position < e.position)",
    ),
    (
        "is missing from the index of ids",
        "NOT EXISTS (SELECT 1 FROM annals_events i INDEXED BY annals_events_by_id
                     WHERE i.id = e.id AND i.position = e.position)",
    ),
    (
        "has an unknown type",
        "NOT EXISTS (SELECT 1 FROM annals_types t WHERE t.id = e.type)",
    ),
    (
        "is not where its append has its next event",
        "e.append_index > 0 AND NOT EXISTS (
             SELECT 1 FROM annals_events b
             WHERE b.position = e.position - 1 AND b.append_index = e.append_index - 1
                 AND b.recorded_at = e.recorded_at)",
    ),
];

fn check_events(connection: &Connection, count: i64) -> Result<(), OpenError> {
    for (fault, broken) in FAULTS {
        // The conditions are constants of this file; only the count is a parameter.
        let mut statement = connection.prepare(&format!(
            "SELECT e.position FROM annals_events e NOT INDEXED
             WHERE e.position > (SELECT coalesce(max(position), 0) FROM annals_events) - ?1
                 AND {broken} LIMIT 1"
        ))?;
        let mut rows = statement.query([count])?;
        if let Some(row) = rows.next()? {
            let position: i64 = row.get(0)?;
            return Err(OpenError::Damaged(format!("the event at position {position} {fault}")));
        }
    }
    Ok(())
}

/// Positions of this store have no gaps, which reads and totals count on.
fn check_positions(connection: &Connection) -> Result<(), OpenError> {
    let (last, count) = connection.query_row(
        "SELECT coalesce(max(position), 0), count(*) FROM annals_events",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    same("events", last, count)
}

/// Every tag of every event is in the index of tags, and nothing else is.
fn check_tags(connection: &Connection) -> Result<(), OpenError> {
    let mut tagged = connection
        .prepare("SELECT position, type, tags FROM annals_events WHERE tags IS NOT NULL")?;
    let mut indexed = connection
        .prepare("SELECT 1 FROM annals_tags WHERE tag = ?1 AND type = ?2 AND position = ?3")?;
    let mut expected: i64 = 0;
    let mut rows = tagged.query([])?;
    while let Some(row) = rows.next()? {
        let (position, type_id): (i64, i64) = (row.get(0)?, row.get(1)?);
        for tag in row.get::<_, String>(2)?.lines() {
            expected += 1;
            if !indexed.exists((tag, type_id, position))? {
                let message = format!("the event at position {position} is missing under {tag}");
                return Err(OpenError::Damaged(message));
            }
        }
    }
    let found: i64 =
        connection.query_row("SELECT count(*) FROM annals_tags", [], |row| row.get(0))?;
    same("entries in the index of tags", expected, found)
}

fn check_totals(connection: &Connection) -> Result<(), OpenError> {
    let expected =
        "SELECT count(*) FROM annals_events INDEXED BY annals_events_by_stream WHERE version = 1";
    let expected = connection.query_row(expected, [], |row| row.get(0))?;
    let found = connection.query_row("SELECT streams FROM annals_totals", [], |row| row.get(0))?;
    same("streams", expected, found)
}

fn same(what: &str, expected: i64, found: i64) -> Result<(), OpenError> {
    if expected == found {
        return Ok(());
    }
    Err(OpenError::Damaged(format!("there are {found} {what} where {expected} are expected")))
}
