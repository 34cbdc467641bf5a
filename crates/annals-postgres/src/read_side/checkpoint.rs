//! How far subscribers have come, and who works them.

use std::slice;

use annals_core::{
    Activation, Advance, CheckpointStore, Claim, Deleted, Enrol, EventId, Failure, Generation,
    GenerationInfo, Lease, Parked, Partition, PartitionInfo, ReadSideError, Renewed, Role,
    SubscriberInfo, SubscriberName, SubscriberState, Timestamp,
};
use async_trait::async_trait;
use sqlx_core::error::Error;
use sqlx_postgres::{PgConnection, PgRow};

use super::PostgresReadSide;
use super::advance::{Advances, stored};
use super::ask::{fetch, read_side_error, text};
use super::generation;
use crate::moment::Moment;
use crate::number::{count, position, stored_position};
use crate::row::{get, optional};
use crate::schema::SchemaName;
use crate::sql::Sql;

const CLAIM: &str = "WITH part AS (
        SELECT p.subscriber, p.generation, p.part, g.parts
        FROM {schema}.subscribers s
        JOIN {schema}.generations g ON g.subscriber = s.id
        JOIN {schema}.parts p ON p.subscriber = g.subscriber AND p.generation = g.generation
        WHERE s.name = $1 AND g.generation = $2 AND p.part = $3
    ), claimed AS (
        UPDATE {schema}.parts p SET owner = $4, owned_until = $6,
            -- No other lease has it, also of one that was deleted before it had this name.
            fence = nextval('{schema}.tokens'::regclass)
        FROM part f
        WHERE p.subscriber = f.subscriber AND p.generation = f.generation AND p.part = f.part
          AND (p.owner IS NULL OR p.owner = $4 OR p.owned_until <= $5)
        RETURNING p.fence, p.position, p.failed_at, p.failed_position, p.failed_event, p.failure
    )
    SELECT f.parts, c.fence, c.position, c.failed_at, c.failed_position, c.failed_event, c.failure
    FROM part f LEFT JOIN claimed c ON true";

/// For what a lease is: `$1` to `$4`.
const LEASED: &str = " FROM {schema}.subscribers s, {schema}.generations g
    WHERE s.name = $1 AND g.subscriber = s.id AND g.generation = $2
      AND p.subscriber = s.id AND p.generation = $2 AND p.part = $3 AND p.fence = $4
      AND p.owner IS NOT NULL ";

const LIST: &str = "SELECT s.name, s.state, g.generation, g.version, g.role, g.begun_at, g.parts,
        p.part, p.position, p.events, p.parked, p.moved_at, p.owner, p.owned_until,
        p.failed_at, p.failed_position, p.failed_event, p.failure
    FROM {schema}.subscribers s
    JOIN {schema}.generations g ON g.subscriber = s.id
    JOIN {schema}.parts p ON p.subscriber = g.subscriber AND p.generation = g.generation
    WHERE $1::text IS NULL OR s.name = $1
    ORDER BY s.name, g.role, p.part";

const SET_STATE: &str = "WITH known AS (
        SELECT s.id, EXISTS (SELECT FROM {schema}.inline i WHERE i.subscriber = s.id) AND $2 <> 0
                     AS is_refused
        FROM {schema}.subscribers s
        WHERE s.name = $1 AND EXISTS (SELECT FROM {schema}.generations g WHERE g.subscriber = s.id)
    ), told AS (
        UPDATE {schema}.subscribers s SET state = $2
        FROM known k WHERE s.id = k.id AND NOT k.is_refused RETURNING s.id
    ), resumed AS (
        UPDATE {schema}.parts p
        SET failed_at = NULL, failed_position = NULL, failed_event = NULL, failure = NULL
        FROM told t WHERE p.subscriber = t.id AND p.failed_at IS NOT NULL AND $2 = 0
    )
    SELECT k.is_refused FROM known k";

/// What cannot be asked for, and what to do instead.
const PAUSING_INLINE: &str = "pausing a projection that runs inline; end it with \
    `PostgresReadSide::end_inline`, and run it behind the log";

const PARKED: &str = "SELECT k.position, k.event, k.error, k.parked_at
    FROM {schema}.subscribers s JOIN {schema}.parked k ON k.subscriber = s.id
    WHERE s.name = $1 ORDER BY k.position, k.event LIMIT $2";

#[async_trait]
impl CheckpointStore for PostgresReadSide {
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo, ReadSideError> {
        enrol.check()?;
        if let Some(known) = self.subscriber(&enrol.subscriber).await?
            && known.generations.iter().any(|made| made.version == enrol.version)
        {
            return Ok(known);
        }
        let schema = self.schema();
        let enrolled = self.attempt("enrolling a subscriber", async |mut connection| {
            let enrolled = generation::enrol(&mut connection, schema, &enrol).await;
            (connection, enrolled)
        });
        enrolled.await?;
        let known = self.subscriber(&enrol.subscriber).await?;
        known.ok_or(ReadSideError::Unknown(enrol.subscriber))
    }

    async fn begin_generation(&self, enrol: Enrol) -> Result<Generation, ReadSideError> {
        enrol.check()?;
        let schema = self.schema();
        let begun = self.attempt("beginning a generation", async |mut connection| {
            let begun = generation::begin_beside(&mut connection, schema, &enrol).await;
            (connection, begun)
        });
        begun.await
    }

    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        _now: Timestamp,
    ) -> Result<Activation, ReadSideError> {
        let schema = self.schema();
        let activated = self.attempt("activating a generation", async |mut connection| {
            let activated =
                generation::activate(&mut connection, schema, subscriber, generation).await;
            (connection, activated)
        });
        activated.await
    }

    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> Result<(), ReadSideError> {
        let schema = self.schema();
        let discarded = self.attempt("discarding a generation", async |mut connection| {
            let discarded =
                generation::discard(&mut connection, schema, subscriber, generation).await;
            (connection, discarded)
        });
        discarded.await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Lease>, ReadSideError> {
        const DOING: &str = "claiming a part";
        let rows = self.ask(DOING, || {
            Sql::of(CLAIM)
                .value(claim.subscriber.as_str())
                .value(stored(claim.generation.get()))
                .value(stored(claim.partition))
                .value(text(&claim.owner))
                .value(Moment(claim.now))
                .value(Moment(claim.until))
        });
        let rows = rows.await?;
        let Some(row) = rows.first() else { return Err(ReadSideError::Unknown(claim.subscriber)) };
        lease(&claim, row).map_err(|error| read_side_error(DOING, error))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed, ReadSideError> {
        const DOING: &str = "renewing a lease";
        let rows = self.ask(DOING, || {
            let mut sql = of_lease("UPDATE {schema}.parts p SET owned_until = $5", lease)
                .value(Moment(until));
            sql.push("RETURNING s.state, g.role, p.failed_at IS NOT NULL");
            sql
        });
        let rows = rows.await?;
        let Some(row) = rows.first() else { return Err(fenced(lease)) };
        let renewed = || -> Result<_, Error> {
            Ok(Renewed {
                state: state(get(row, 0)?),
                role: role(get(row, 1)?),
                failed: get(row, 2)?,
            })
        };
        renewed().map_err(|error| read_side_error(DOING, error))
    }

    async fn release(&self, lease: &Lease) -> Result<(), ReadSideError> {
        const UPDATE: &str = "UPDATE {schema}.parts p SET owner = NULL, owned_until = NULL";
        self.ask("giving a lease back", || of_lease(UPDATE, lease)).await?;
        Ok(())
    }

    async fn advance(&self, advance: &Advance) -> Result<(), ReadSideError> {
        const DOING: &str = "moving a checkpoint";
        const ADVANCE: &str =
            "SELECT {schema}.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) IS NULL";
        let columns = Advances::of(slice::from_ref(advance));
        let rows = self.ask(DOING, || columns.bind(Sql::of(ADVANCE), advance.now)).await?;
        match rows.first().map(|row| get(row, 0)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(read_side_error(DOING, error)),
            Some(Ok(false)) | None => Err(fenced(&advance.lease)),
        }
    }

    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<(), ReadSideError> {
        let event = failure.event;
        let rows = self.ask("noting a failure", || {
            let mut sql = of_lease(
                "UPDATE {schema}.parts p
                 SET failed_at = $5, failed_position = $6, failed_event = $7, failure = $8",
                lease,
            )
            .value(Moment(failure.at))
            .value(event.map(|(position, _)| stored_position(position)))
            .value(event.map(|(_, id)| uuid::Uuid::from(id)))
            .value(text(&failure.error));
            sql.push("RETURNING 1");
            sql
        });
        if rows.await?.is_empty() { Err(fenced(lease)) } else { Ok(()) }
    }

    async fn set_state(
        &self,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> Result<(), ReadSideError> {
        const DOING: &str = "telling a subscriber what to do";
        let rows = self.ask(DOING, || {
            Sql::of(SET_STATE).value(subscriber.as_str()).value(stored_state(state))
        });
        match rows.await?.first().map(|row| get(row, 0)) {
            Some(Ok(false)) => Ok(()),
            Some(Ok(true)) => Err(ReadSideError::Unsupported(PAUSING_INLINE)),
            Some(Err(error)) => Err(read_side_error(DOING, error)),
            None => Err(ReadSideError::Unknown(subscriber.clone())),
        }
    }

    async fn delete(
        &self,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Result<Deleted, ReadSideError> {
        self.delete_all(subscriber, now).await
    }

    async fn subscribers(&self) -> Result<Vec<SubscriberInfo>, ReadSideError> {
        self.list(None).await
    }

    async fn subscriber(
        &self,
        subscriber: &SubscriberName,
    ) -> Result<Option<SubscriberInfo>, ReadSideError> {
        Ok(self.list(Some(subscriber)).await?.pop())
    }

    async fn parked(
        &self,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> Result<Vec<Parked>, ReadSideError> {
        const DOING: &str = "listing parked events";
        let rows = self.ask(DOING, || {
            Sql::of(PARKED).value(subscriber.as_str()).value(i64::from(count(limit)))
        });
        let rows = rows.await?;
        let parked = rows.iter().map(parked).collect::<Result<_, _>>();
        parked.map_err(|error| read_side_error(DOING, error))
    }
}

impl PostgresReadSide {
    async fn list(
        &self,
        only: Option<&SubscriberName>,
    ) -> Result<Vec<SubscriberInfo>, ReadSideError> {
        const DOING: &str = "listing subscribers";
        let rows =
            self.ask(DOING, || Sql::of(LIST).value(only.map(SubscriberName::as_str))).await?;
        subscribers(&rows).map_err(|error| read_side_error(DOING, error))
    }
}

fn of_lease(update: &'static str, lease: &Lease) -> Sql {
    let mut sql = Sql::of(update)
        .value(lease.subscriber.as_str())
        .value(stored(lease.generation.get()))
        .value(stored(lease.partition.index))
        .value(lease.fence.cast_signed());
    sql.push(LEASED);
    sql
}

pub(super) fn fenced(lease: &Lease) -> ReadSideError {
    ReadSideError::Fenced(lease.subscriber.clone())
}

fn lease(claim: &Claim, row: &PgRow) -> Result<Option<Lease>, Error> {
    let Some(fence) = optional::<i64>(row, 1)? else { return Ok(None) };
    Ok(Some(Lease {
        subscriber: claim.subscriber.clone(),
        generation: claim.generation,
        partition: Partition { index: claim.partition, count: number(get(row, 0)?) },
        fence: fence.unsigned_abs(),
        position: position(get(row, 2)?),
        failure: failure(row, 3)?,
    }))
}

/// A failure in four columns.
fn failure(row: &PgRow, first: usize) -> Result<Option<Failure>, Error> {
    let Some(at) = optional::<Moment>(row, first)? else { return Ok(None) };
    let at_position = optional::<i64>(row, first + 1)?.map(position);
    let event = optional::<uuid::Uuid>(row, first + 2)?.map(EventId::from);
    let error = optional::<String>(row, first + 3)?.unwrap_or_default();
    Ok(Some(Failure { event: at_position.zip(event), error, at: at.0 }))
}

fn parked(row: &PgRow) -> Result<Parked, Error> {
    Ok(Parked {
        position: position(get(row, 0)?),
        event: EventId::from(get::<uuid::Uuid>(row, 1)?),
        error: get(row, 2)?,
        at: get::<Moment>(row, 3)?.0,
    })
}

/// A subscriber within a transaction.
pub(super) async fn info(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
) -> Result<Option<SubscriberInfo>, Error> {
    let list = Sql::of(LIST).value(subscriber.as_str());
    let rows = fetch(transaction, schema, list).await?;
    Ok(subscribers(&rows)?.pop())
}

/// From rows in the order of subscribers, generations and parts.
fn subscribers(rows: &[PgRow]) -> Result<Vec<SubscriberInfo>, Error> {
    let mut subscribers: Vec<SubscriberInfo> = Vec::new();
    for row in rows {
        let name = get::<&str>(row, 0)?;
        let is_new = subscribers.last().is_none_or(|last| last.subscriber.as_str() != name);
        if is_new {
            let subscriber = SubscriberName::from_stored(name);
            let state = state(get(row, 1)?);
            subscribers.push(SubscriberInfo { subscriber, state, generations: Vec::new() });
        }
        let generations = &mut subscribers.last_mut().expect("one was just added").generations;
        let generation = Generation::new(number(get(row, 2)?));
        if generations.last().is_none_or(|last| last.generation != generation) {
            generations.push(GenerationInfo {
                generation,
                version: u32::try_from(get::<i64>(row, 3)?).unwrap_or(u32::MAX),
                role: role(get(row, 4)?),
                begun_at: get::<Moment>(row, 5)?.0,
                partitions: Vec::new(),
            });
        }
        let parts = &mut generations.last_mut().expect("one was just added").partitions;
        parts.push(part(row)?);
    }
    Ok(subscribers)
}

fn part(row: &PgRow) -> Result<PartitionInfo, Error> {
    let owner = optional::<String>(row, 12)?;
    let until = optional::<Moment>(row, 13)?.map(|until| until.0);
    Ok(PartitionInfo {
        partition: Partition { index: number(get(row, 7)?), count: number(get(row, 6)?) },
        position: position(get(row, 8)?),
        events: get::<i64>(row, 9)?.unsigned_abs(),
        parked: get::<i64>(row, 10)?.unsigned_abs(),
        moved_at: get::<Moment>(row, 11)?.0,
        owner: owner.zip(until),
        failure: failure(row, 14)?,
    })
}

fn number(stored: i32) -> u32 {
    stored.unsigned_abs()
}

fn state(stored: i16) -> SubscriberState {
    match stored {
        0 => SubscriberState::Running,
        1 => SubscriberState::Paused,
        _ => SubscriberState::Disabled,
    }
}

fn stored_state(state: SubscriberState) -> i16 {
    match state {
        SubscriberState::Running => 0,
        SubscriberState::Paused => 1,
        _ => 2,
    }
}

fn role(stored: i16) -> Role {
    if stored == 0 { Role::Active } else { Role::Building }
}
