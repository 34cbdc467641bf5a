//! Checkpoints: where subscribers stand, and who may move them.

use annals_core::EventId;
use annals_core::{
    Activation, Advance, CheckpointStore, Claim, Deleted, Enrol, Failure, Generation, Lease,
    OnNewVersion, Parked, Partition, ReadSideError, Renewed, SubscriberInfo, SubscriberName,
    SubscriberState, Timestamp,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Result};

use super::subscriber::{
    ACTIVE, BUILDING, LAST_NUMBER, failure, find, info, raise_last_number, role_of, state_number,
    state_of,
};
use super::{SqliteReadSide, stored_count, stored_limit};
use crate::number::{position, stored_position};
use crate::{inline, projection};

/// What a job comes to: SQLite fails, or the read side refuses, or it is done.
pub(crate) type Outcome<T> = Result<std::result::Result<T, ReadSideError>>;

/// Changes the part of a lease, if it is not lost; how many rows that were. Values of
/// its own are numbered from 5 on; `and` is what must hold besides.
macro_rules! of_lease {
    ($connection:expr, $lease:expr, $set:literal, $and:literal $(, $value:expr)*) => {
        $connection
            .prepare_cached(concat!(
                "UPDATE annals_partitions SET ",
                $set,
                " WHERE subscriber = (SELECT id FROM annals_subscribers WHERE name = ?1)
                      AND generation = ?2 AND part = ?3 AND fence = ?4",
                $and
            ))
            .and_then(|mut update| update.execute(rusqlite::params![
                $lease.subscriber.as_str(),
                $lease.generation.get(),
                $lease.partition.index,
                stored_count($lease.fence),
                $($value),*
            ]))
    };
}

/// What cannot be asked for, and what to do instead.
const REBUILDING_INLINE: &str = "rebuilding a projection that runs inline; count its version up \
    and open the store anew, which builds it anew";

#[async_trait]
impl CheckpointStore for SqliteReadSide {
    async fn enrol(&self, asked: Enrol) -> std::result::Result<SubscriberInfo, ReadSideError> {
        asked.check()?;
        self.write("enrolling a subscriber", move |connection| enrol(connection, &asked)).await
    }

    async fn begin_generation(
        &self,
        asked: Enrol,
    ) -> std::result::Result<Generation, ReadSideError> {
        asked.check()?;
        self.write("beginning a generation", move |connection| {
            let Some(id) = find(connection, &asked.subscriber)? else {
                return Ok(Err(ReadSideError::Unknown(asked.subscriber)));
            };
            if runs_inline(connection, id)? {
                return Ok(Err(ReadSideError::Unsupported(REBUILDING_INLINE)));
            }
            begin_generation(connection, id, &asked).map(Ok)
        })
        .await
    }

    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        _now: Timestamp,
    ) -> std::result::Result<Activation, ReadSideError> {
        let subscriber = subscriber.clone();
        self.write("activating a generation", move |connection| {
            activate(connection, &subscriber, generation)
        })
        .await
    }

    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> std::result::Result<(), ReadSideError> {
        let subscriber = subscriber.clone();
        self.write("discarding a generation", move |connection| {
            discard(connection, &subscriber, generation).map(|_| Ok(()))
        })
        .await
    }

    async fn claim(&self, claimed: Claim) -> std::result::Result<Option<Lease>, ReadSideError> {
        self.write("claiming a part", move |connection| claim(connection, claimed)).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        until: Timestamp,
    ) -> std::result::Result<Renewed, ReadSideError> {
        let lease = lease.clone();
        self.write("renewing a lease", move |connection| renew(connection, &lease, until)).await
    }

    async fn release(&self, lease: &Lease) -> std::result::Result<(), ReadSideError> {
        let lease = lease.clone();
        self.write("releasing a lease", move |connection| {
            // Whoever released a part may not come back with the same lease.
            of_lease!(
                connection,
                lease,
                "fence = fence + 1, owner = NULL, owned_until = NULL",
                ""
            )?;
            Ok(Ok::<_, ReadSideError>(()))
        })
        .await
    }

    async fn advance(&self, moved: &Advance) -> std::result::Result<(), ReadSideError> {
        let moved = moved.clone();
        self.write("moving a checkpoint", move |connection| advance(connection, &moved)).await
    }

    async fn fail(&self, lease: &Lease, failed: Failure) -> std::result::Result<(), ReadSideError> {
        let lease = lease.clone();
        self.write("keeping a failure", move |connection| fail(connection, lease, &failed)).await
    }

    async fn set_state(
        &self,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> std::result::Result<(), ReadSideError> {
        let subscriber = subscriber.clone();
        self.write("telling a subscriber", move |connection| {
            set_state(connection, subscriber, state)
        })
        .await
    }

    async fn delete(
        &self,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> std::result::Result<Deleted, ReadSideError> {
        self.delete_all(subscriber, now).await
    }

    async fn subscribers(&self) -> std::result::Result<Vec<SubscriberInfo>, ReadSideError> {
        self.read("listing subscribers", |connection| {
            let mut names =
                connection.prepare_cached("SELECT name FROM annals_subscribers ORDER BY name")?;
            let names = names.query_map([], |row| row.get(0))?;
            let names: Vec<String> = names.collect::<Result<_>>()?;
            let infos = names.into_iter().filter_map(|name| {
                info(connection, &SubscriberName::from_stored(name)).transpose()
            });
            infos.collect()
        })
        .await
    }

    async fn subscriber(
        &self,
        subscriber: &SubscriberName,
    ) -> std::result::Result<Option<SubscriberInfo>, ReadSideError> {
        let subscriber = subscriber.clone();
        self.read("looking at a subscriber", move |connection| info(connection, &subscriber)).await
    }

    async fn parked(
        &self,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> std::result::Result<Vec<Parked>, ReadSideError> {
        let subscriber = subscriber.clone();
        self.read("listing parked events", move |connection| parked(connection, &subscriber, limit))
            .await
    }
}

pub(crate) fn enrol(connection: &Connection, asked: &Enrol) -> Outcome<SubscriberInfo> {
    let name = &asked.subscriber;
    let Some(found) = info(connection, name)? else {
        begin(connection, asked)?;
        return Ok(Ok(info(connection, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?));
    };
    if found.generations.iter().any(|generation| generation.version == asked.version) {
        return Ok(Ok(found));
    }
    if asked.on_new_version == OnNewVersion::Refuse {
        return Ok(Err(ReadSideError::OtherVersion {
            subscriber: name.clone(),
            stored: found.active().map_or(0, |active| active.version),
            asked: asked.version,
        }));
    }
    let id = find(connection, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    begin_generation(connection, id, asked)?;
    Ok(Ok(info(connection, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
}

fn begin(connection: &Connection, asked: &Enrol) -> Result<()> {
    // There is one already if it is being deleted, and rows of its generations are still there.
    let (id, generation) = connection
        .prepare_cached(
            "INSERT INTO annals_subscribers (name, state, last_generation) VALUES (?1, 0, ?2)
             ON CONFLICT (name) DO UPDATE SET last_generation = last_generation + 1
             RETURNING id, last_generation",
        )?
        .query_row((asked.subscriber.as_str(), Generation::FIRST.get()), |row| {
            Ok((row.get(0)?, Generation::new(row.get(1)?)))
        })?;
    add_generation(connection, id, generation, ACTIVE, asked)
}

/// Whether appends work it; that nothing was appended for a while changes nothing about it.
fn runs_inline(connection: &Connection, id: i64) -> Result<bool> {
    let mut select = connection.prepare_cached(
        "SELECT 1 FROM annals_partitions p
         JOIN annals_generations g ON g.subscriber = p.subscriber AND g.generation = p.generation
         WHERE p.subscriber = ?1 AND g.role = ?2 AND p.owner = ?3",
    )?;
    select.exists((id, ACTIVE, inline::OWNER))
}

fn begin_generation(connection: &Connection, id: i64, asked: &Enrol) -> Result<Generation> {
    let building = connection
        .prepare_cached(
            "SELECT generation FROM annals_generations WHERE subscriber = ?1 AND role = ?2",
        )?
        .query_row((id, BUILDING), |row| row.get(0))
        .optional()?;
    if let Some(building) = building {
        forget_generation(connection, id, building, BUILDING)?;
    }
    let generation = connection
        .prepare_cached(
            "UPDATE annals_subscribers SET last_generation = last_generation + 1 WHERE id = ?1
             RETURNING last_generation",
        )?
        .query_row([id], |row| row.get(0).map(Generation::new))?;
    add_generation(connection, id, generation, BUILDING, asked)?;
    Ok(generation)
}

fn add_generation(
    connection: &Connection,
    id: i64,
    generation: Generation,
    role: i64,
    asked: &Enrol,
) -> Result<()> {
    let (generation, now) = (generation.get(), asked.now.as_micros());
    connection
        .prepare_cached(
            "INSERT INTO annals_generations (subscriber, generation, role, version, begun_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((id, generation, role, asked.version, now))?;
    let mut insert = connection.prepare_cached(&format!(
        "INSERT INTO annals_partitions
             (subscriber, generation, part, position, events, parked, moved_at, fence)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, {LAST_NUMBER})",
    ))?;
    for part in 0..asked.partitions {
        insert.execute((id, generation, part, stored_position(asked.after), now))?;
    }
    Ok(())
}

/// Makes a generation the active one, if that is not further: whoever writes has the file alone.
fn activate(
    connection: &Connection,
    name: &SubscriberName,
    generation: Generation,
) -> Outcome<Activation> {
    let known = find(connection, name)?.zip(info(connection, name)?);
    let Some((id, known)) = known else { return Ok(Err(ReadSideError::Unknown(name.clone()))) };
    let active = known.active();
    if active.is_some_and(|active| active.generation == generation) {
        return Ok(Ok(Activation::Done));
    }
    let building = known.building().filter(|building| building.generation == generation);
    let Some(building) = building else { return Ok(Err(ReadSideError::Unknown(name.clone()))) };
    if active.is_some_and(|active| !building.is_as_far_as(active)) {
        return Ok(Ok(Activation::Behind));
    }
    put_in_place(connection, id, active.map(|active| active.generation), generation)?;
    Ok(Ok(Activation::Done))
}

/// Makes a generation that was being built the active one, in the place of the one that was.
pub(crate) fn put_in_place(
    connection: &Connection,
    id: i64,
    active: Option<Generation>,
    generation: Generation,
) -> Result<()> {
    if let Some(active) = active {
        forget_generation(connection, id, active.get(), ACTIVE)?;
    }
    projection::activate(connection, id, generation.get())?;
    connection
        .prepare_cached(
            "UPDATE annals_generations SET role = ?3 WHERE subscriber = ?1 AND generation = ?2",
        )?
        .execute((id, generation.get(), ACTIVE))?;
    Ok(())
}

/// Forgets a generation that is being built; whether there was one.
pub(crate) fn discard(
    connection: &Connection,
    name: &SubscriberName,
    generation: Generation,
) -> Result<bool> {
    let Some(id) = find(connection, name)? else { return Ok(false) };
    let is_building = connection
        .prepare_cached(
            "SELECT 1 FROM annals_generations
             WHERE subscriber = ?1 AND generation = ?2 AND role = ?3",
        )?
        .exists((id, generation.get(), BUILDING))?;
    if is_building {
        forget_generation(connection, id, generation.get(), BUILDING)?;
    }
    Ok(is_building)
}

/// Forgets a generation, but for its rows: those may be many, and are swept bit by bit. Says which
/// tables were its own.
pub(super) fn forget_generation(
    connection: &Connection,
    id: i64,
    generation: u32,
    role: i64,
) -> Result<Vec<String>> {
    let tables = projection::drop_tables(connection, id, generation, role)?;
    let last_fence = connection
        .prepare_cached(
            "SELECT max(fence) FROM annals_partitions WHERE subscriber = ?1 AND generation = ?2",
        )?
        .query_row((id, generation), |row| row.get::<_, Option<i64>>(0))?;
    raise_last_number(connection, last_fence.unwrap_or_default())?;
    for delete in [
        "DELETE FROM annals_generations WHERE subscriber = ?1 AND generation = ?2",
        "DELETE FROM annals_partitions WHERE subscriber = ?1 AND generation = ?2",
        "DELETE FROM annals_parked WHERE subscriber = ?1 AND generation = ?2",
    ] {
        connection.prepare_cached(delete)?.execute((id, generation))?;
    }
    Ok(tables)
}

fn claim(connection: &Connection, claim: Claim) -> Outcome<Option<Lease>> {
    let Some(id) = find(connection, &claim.subscriber)? else {
        return Ok(Err(ReadSideError::Unknown(claim.subscriber)));
    };
    let key = (id, claim.generation.get(), claim.partition);
    let found = connection
        .prepare_cached(
            "SELECT position, fence, owner, owned_until,
                    failed_at, failed_position, failed_event, error,
                    (SELECT count(*) FROM annals_partitions
                     WHERE subscriber = ?1 AND generation = ?2)
             FROM annals_partitions WHERE subscriber = ?1 AND generation = ?2 AND part = ?3",
        )?
        .query_row(key, |row| {
            let owner: Option<String> = row.get(2)?;
            let until: Option<i64> = row.get(3)?;
            let lease = Lease {
                subscriber: claim.subscriber.clone(),
                generation: claim.generation,
                partition: Partition { index: claim.partition, count: row.get(8)? },
                fence: row.get::<_, i64>(1)?.unsigned_abs() + 1,
                position: position(row.get(0)?),
                failure: failure(row, 4)?,
            };
            Ok((lease, owner.zip(until)))
        })
        .optional()?;
    let Some((lease, owner)) = found else {
        return Ok(Err(ReadSideError::Unknown(claim.subscriber)));
    };
    if let Some((owner, until)) = owner
        && *owner != *claim.owner
        && until > claim.now.as_micros()
    {
        return Ok(Ok(None));
    }
    connection
        .prepare_cached(
            "UPDATE annals_partitions SET fence = ?4, owner = ?5, owned_until = ?6
             WHERE subscriber = ?1 AND generation = ?2 AND part = ?3",
        )?
        .execute((
            key.0,
            key.1,
            key.2,
            stored_count(lease.fence),
            &*claim.owner,
            claim.until.as_micros(),
        ))?;
    Ok(Ok(Some(lease)))
}

fn renew(connection: &Connection, lease: &Lease, until: Timestamp) -> Outcome<Renewed> {
    if of_lease!(connection, lease, "owned_until = ?5", "", until.as_micros())? == 0 {
        return Ok(Err(ReadSideError::Fenced(lease.subscriber.clone())));
    }
    connection
        .prepare_cached(
            "SELECT s.state, g.role, p.failed_at IS NOT NULL
             FROM annals_subscribers s
             JOIN annals_generations g ON g.subscriber = s.id AND g.generation = ?2
             JOIN annals_partitions p ON p.subscriber = s.id AND p.generation = ?2 AND p.part = ?3
             WHERE s.name = ?1",
        )?
        .query_row(
            (lease.subscriber.as_str(), lease.generation.get(), lease.partition.index),
            |row| {
                Ok(Ok(Renewed {
                    state: state_of(row.get(0)?),
                    role: role_of(row.get(1)?),
                    failed: row.get(2)?,
                }))
            },
        )
}

/// Moves a checkpoint, in a transaction with whatever else is written because of it.
pub(crate) fn advance(connection: &Connection, advance: &Advance) -> Outcome<()> {
    let lease = &advance.lease;
    let moved = of_lease!(
        connection,
        lease,
        "position = ?5, moved_at = ?6, events = events + ?7, parked = parked + ?8,
         failed_at = NULL, failed_position = NULL, failed_event = NULL, error = NULL",
        // As `Advance::follows` says.
        " AND (position < ?5 OR (position = ?5 AND ?7 = 0 AND ?8 = 0))",
        stored_position(advance.to),
        advance.now.as_micros(),
        stored_count(advance.events),
        stored_limit(advance.parked.len())
    )?;
    if moved == 0 {
        return Ok(Err(ReadSideError::Fenced(lease.subscriber.clone())));
    }
    if advance.parked.is_empty() {
        return Ok(Ok(()));
    }
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO annals_parked
             (subscriber, generation, position, part, event, error, parked_at)
         SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM annals_subscribers WHERE name = ?1",
    )?;
    for parked in &advance.parked {
        insert.execute((
            lease.subscriber.as_str(),
            lease.generation.get(),
            stored_position(parked.position),
            lease.partition.index,
            parked.event.as_bytes(),
            &parked.error,
            parked.at.as_micros(),
        ))?;
    }
    Ok(Ok(()))
}

fn fail(connection: &Connection, lease: Lease, failure: &Failure) -> Outcome<()> {
    let (stands, event) = failure.event.unzip();
    let kept = of_lease!(
        connection,
        lease,
        "failed_at = ?5, failed_position = ?6, failed_event = ?7, error = ?8",
        "",
        failure.at.as_micros(),
        stands.map(stored_position),
        event.as_ref().map(EventId::as_bytes),
        failure.error
    )?;
    Ok(if kept == 0 { Err(ReadSideError::Fenced(lease.subscriber)) } else { Ok(()) })
}

fn set_state(connection: &Connection, name: SubscriberName, state: SubscriberState) -> Outcome<()> {
    let known = connection
        .prepare_cached(
            "UPDATE annals_subscribers SET state = ?2 WHERE name = ?1
                 AND EXISTS (SELECT 1 FROM annals_generations g WHERE g.subscriber = id)",
        )?
        .execute((name.as_str(), state_number(state)))?;
    if known == 0 {
        return Ok(Err(ReadSideError::Unknown(name)));
    }
    if state == SubscriberState::Running {
        connection
            .prepare_cached(
                "UPDATE annals_partitions
                 SET failed_at = NULL, failed_position = NULL, failed_event = NULL, error = NULL
                 WHERE subscriber = (SELECT id FROM annals_subscribers WHERE name = ?1)
                     AND failed_at IS NOT NULL",
            )?
            .execute([name.as_str()])?;
    }
    Ok(Ok(()))
}

fn parked(connection: &Connection, name: &SubscriberName, limit: usize) -> Result<Vec<Parked>> {
    let mut select = connection.prepare_cached(
        "SELECT p.position, p.event, p.error, p.parked_at
         FROM annals_subscribers s JOIN annals_parked p ON p.subscriber = s.id
         WHERE s.name = ?1 ORDER BY p.position, p.generation, p.part LIMIT ?2",
    )?;
    let parked = select.query_map((name.as_str(), stored_limit(limit)), |row| {
        Ok(Parked {
            position: position(row.get(0)?),
            event: EventId::from_bytes(row.get(1)?),
            error: row.get(2)?,
            at: Timestamp::from_micros(row.get(3)?),
        })
    })?;
    parked.collect()
}
