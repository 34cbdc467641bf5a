//! Subscribers as rows: the look-ups that everything else on the read side is built on.

use annals_core::{
    EventId, Failure, Generation, GenerationInfo, Partition, PartitionInfo, Role, SubscriberInfo,
    SubscriberName, SubscriberState, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Result, Row};

use crate::number::position;

pub(crate) const ACTIVE: i64 = 0;
pub(crate) const BUILDING: i64 = 1;

/// A subscriber that was told to wait.
pub(crate) const PAUSED: i64 = 1;
const DISABLED: i64 = 2;

pub(crate) fn state_number(state: SubscriberState) -> i64 {
    match state {
        SubscriberState::Paused => PAUSED,
        SubscriberState::Disabled => DISABLED,
        _ => 0,
    }
}

pub(crate) fn state_of(number: i64) -> SubscriberState {
    match number {
        PAUSED => SubscriberState::Paused,
        DISABLED => SubscriberState::Disabled,
        _ => SubscriberState::Running,
    }
}

pub(crate) fn role_of(number: i64) -> Role {
    if number == ACTIVE { Role::Active } else { Role::Building }
}

/// The number that stands for a subscriber in all other tables.
pub(crate) fn find(connection: &Connection, name: &SubscriberName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM annals_subscribers WHERE name = ?1 AND id > 0")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()
}

/// The highest fence and token of all that are gone, which is where others begin: nobody who comes
/// late has one that is given again. It is kept as the last number of a subscriber 0, which nobody
/// finds.
pub(crate) const LAST_NUMBER: &str =
    "coalesce((SELECT last_generation FROM annals_subscribers WHERE id = 0), 0)";

/// Has others begin behind the fences or tokens of what goes.
pub(super) fn raise_last_number(connection: &Connection, number: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO annals_subscribers (id, name, state, last_generation)
             VALUES (0, '', 0, ?1)
             ON CONFLICT (id) DO UPDATE
             SET last_generation = max(last_generation, excluded.last_generation)",
        )?
        .execute([number])?;
    Ok(())
}

/// What is known of a subscriber. One that has no generation is known no more: what is left of it
/// is being deleted.
pub(crate) fn info(
    connection: &Connection,
    name: &SubscriberName,
) -> Result<Option<SubscriberInfo>> {
    let found = connection
        .prepare_cached("SELECT id, state FROM annals_subscribers WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, state)) = found else { return Ok(None) };
    let generations = generations(connection, id)?;
    if generations.is_empty() {
        return Ok(None);
    }
    Ok(Some(SubscriberInfo { subscriber: name.clone(), state: state_of(state), generations }))
}

fn generations(connection: &Connection, subscriber: i64) -> Result<Vec<GenerationInfo>> {
    let mut select = connection.prepare_cached(
        "SELECT generation, role, version, begun_at FROM annals_generations
         WHERE subscriber = ?1 ORDER BY role",
    )?;
    let mut rows = select.query([subscriber])?;
    let mut generations = Vec::new();
    while let Some(row) = rows.next()? {
        let generation = row.get(0)?;
        generations.push(GenerationInfo {
            generation: Generation::new(generation),
            role: role_of(row.get(1)?),
            version: row.get(2)?,
            begun_at: Timestamp::from_micros(row.get(3)?),
            partitions: partitions(connection, subscriber, generation)?,
        });
    }
    Ok(generations)
}

fn partitions(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
) -> Result<Vec<PartitionInfo>> {
    let mut select = connection.prepare_cached(
        "SELECT part, position, events, parked, moved_at, owner, owned_until,
                failed_at, failed_position, failed_event, error
         FROM annals_partitions WHERE subscriber = ?1 AND generation = ?2 ORDER BY part",
    )?;
    let read = |row: &Row<'_>| {
        let owner: Option<String> = row.get(5)?;
        let until: Option<i64> = row.get(6)?;
        Ok(PartitionInfo {
            partition: Partition { index: row.get(0)?, count: 1 },
            position: position(row.get(1)?),
            events: row.get::<_, i64>(2)?.unsigned_abs(),
            parked: row.get::<_, i64>(3)?.unsigned_abs(),
            moved_at: Timestamp::from_micros(row.get(4)?),
            owner: owner.zip(until.map(Timestamp::from_micros)),
            failure: failure(row, 7)?,
        })
    };
    let mut found: Vec<PartitionInfo> =
        select.query_map((subscriber, generation), read)?.collect::<Result<_>>()?;
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    found.iter_mut().for_each(|info| info.partition.count = count);
    Ok(found)
}

/// The failure in four columns from `first` on.
pub(crate) fn failure(row: &Row<'_>, first: usize) -> Result<Option<Failure>> {
    let Some(at) = row.get::<_, Option<i64>>(first)? else { return Ok(None) };
    let stands: Option<i64> = row.get(first + 1)?;
    let event: Option<[u8; 16]> = row.get(first + 2)?;
    Ok(Some(Failure {
        event: stands.map(position).zip(event.map(EventId::from_bytes)),
        error: row.get(first + 3)?,
        at: Timestamp::from_micros(at),
    }))
}
