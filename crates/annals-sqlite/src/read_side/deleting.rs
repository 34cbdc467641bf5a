//! Deleting subscribers: first their generations, so that nobody works them any more; then what
//! may be much, some of it at a time, so that nobody else waits for long; at last their names.

use annals_core::{Deleted, ReadSideError, Role, SubscriberName, Timestamp, UsedBy};
use rusqlite::{Connection, OptionalExtension, Result};

use super::SqliteReadSide;
use super::checkpoint::{Outcome, forget_generation};
use super::delivery::{delete_deliveries, find_inbox, used_by_takers};
use super::rows::sweep;
use super::subscriber::{ACTIVE, BUILDING, find, info};
use crate::inline;

/// How many rows or deliveries go in one transaction.
const STEP: usize = 1_000;
const DOING: &str = "deleting a subscriber";

impl SqliteReadSide {
    pub(super) async fn delete_all(
        &self,
        name: &SubscriberName,
        now: Timestamp,
    ) -> std::result::Result<Deleted, ReadSideError> {
        let subscriber = name.clone();
        let begun = self.write(DOING, move |connection| begin(connection, subscriber, now));
        let mut deleted = begun.await?;
        loop {
            let subscriber = name.clone();
            let step = self.write(DOING, move |connection| go_on(connection, subscriber)).await?;
            deleted.deliveries += step.deliveries as u64;
            deleted.rows += step.rows as u64;
            if step.is_last {
                return Ok(deleted);
            }
        }
    }
}

fn begin(connection: &Connection, name: SubscriberName, now: Timestamp) -> Outcome<Deleted> {
    let (id, inbox) = (find(connection, &name)?, find_inbox(connection, &name)?);
    if id.is_none() && inbox.is_none() {
        return Ok(Err(ReadSideError::Unknown(name)));
    }
    if let Some(by) = used_by(connection, id, inbox, now)? {
        return Ok(Err(ReadSideError::InUse { subscriber: name, by }));
    }
    let mut deleted = Deleted::default();
    if let Some(id) = id {
        deleted.parked = connection
            .prepare_cached("SELECT count(*) FROM annals_parked WHERE subscriber = ?1")?
            .query_row([id], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))?;
        for made in info(connection, &name)?.into_iter().flat_map(|known| known.generations) {
            let role = if made.role == Role::Active { ACTIVE } else { BUILDING };
            deleted.tables.extend(forget_generation(connection, id, made.generation.get(), role)?);
        }
        deleted.tables.sort();
        connection
            .prepare_cached("UPDATE annals_subscribers SET state = 0 WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(Ok(deleted))
}

fn used_by(
    connection: &Connection,
    id: Option<i64>,
    inbox: Option<i64>,
    now: Timestamp,
) -> Result<Option<UsedBy>> {
    let owner = connection
        .prepare_cached(
            "SELECT owner, owned_until FROM annals_partitions
             WHERE subscriber = ?1 AND owner IS NOT NULL AND owned_until > ?2
             ORDER BY generation, part LIMIT 1",
        )?
        .query_row((id, now.as_micros()), |row| {
            Ok((row.get::<_, String>(0)?, Timestamp::from_micros(row.get(1)?)))
        })
        .optional()?;
    match owner {
        Some((owner, _)) if owner == inline::OWNER => Ok(Some(UsedBy::Appends)),
        Some((owner, until)) => Ok(Some(UsedBy::Owner { owner, until })),
        None => used_by_takers(connection, inbox, now),
    }
}

/// What went in one transaction, and whether nothing is left now.
struct Step {
    deliveries: usize,
    rows: usize,
    is_last: bool,
}

fn go_on(connection: &Connection, name: SubscriberName) -> Outcome<Step> {
    if info(connection, &name)?.is_some() {
        return Ok(Err(ReadSideError::InUse { subscriber: name, by: UsedBy::Restarted }));
    }
    let mut step = Step { deliveries: 0, rows: 0, is_last: false };
    if let Some(inbox) = find_inbox(connection, &name)? {
        step.deliveries = delete_deliveries(connection, inbox, STEP)?;
    }
    if let Some(id) = find(connection, &name)?
        && step.deliveries < STEP
    {
        step.rows = sweep(connection, id, &[], STEP)?;
    }
    if step.deliveries < STEP && step.rows < STEP {
        for delete in [
            "DELETE FROM annals_inboxes WHERE name = ?1",
            "DELETE FROM annals_subscribers WHERE name = ?1",
        ] {
            connection.prepare_cached(delete)?.execute([name.as_str()])?;
        }
        step.is_last = true;
    }
    Ok(Ok(step))
}
