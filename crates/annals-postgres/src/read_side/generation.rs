//! How one building of a subscriber begins beside another, and takes its place.
//!
//! Each step is a transaction that locks the subscriber first, then the parts that go with a
//! generation: whoever moves a checkpoint has one of those, and then wants nothing else.

use annals_core::{
    Activation, Enrol, Generation, OnNewVersion, ReadSideError, Role, SubscriberName,
};
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use super::advance::stored;
use super::ask::Answered;
use super::checkpoint::info;
use crate::moment::Moment;
use crate::number::stored_position;
use crate::schema::SchemaName;

const ACTIVE: i16 = 0;
const BUILDING: i16 = 1;

/// What cannot be asked for, and what to do instead.
const REBUILDING_INLINE: &str = "rebuilding a projection that runs inline; count its version up \
    and open the store anew, which builds it anew";

/// Makes a subscriber known, or begins the generation that its version needs.
pub(crate) async fn enrol(
    connection: &mut PgConnection,
    schema: &SchemaName,
    enrol: &Enrol,
) -> Answered<()> {
    let mut transaction = connection.begin().await?;
    let insert = "INSERT INTO {schema}.subscribers (name, last_generation) VALUES ($1, 0)
        ON CONFLICT DO NOTHING";
    let number = loop {
        query(schema.statement(insert))
            .bind(enrol.subscriber.as_str())
            .execute(&mut *transaction)
            .await?;
        // Unless it was deleted just now.
        if let Some(number) = lock(&mut transaction, schema, &enrol.subscriber).await? {
            break number;
        }
    };
    let made = generations(&mut transaction, schema, number).await?;
    let active = made.iter().find(|made| made.role == ACTIVE);
    let is_made = made.iter().any(|made| made.version == i64::from(enrol.version));
    match active {
        _ if is_made => {}
        Some(active) if enrol.on_new_version == OnNewVersion::Refuse => {
            transaction.rollback().await?;
            return Ok(Err(ReadSideError::OtherVersion {
                subscriber: enrol.subscriber.clone(),
                stored: u32::try_from(active.version).unwrap_or(u32::MAX),
                asked: enrol.version,
            }));
        }
        Some(_) => drop(begin(&mut transaction, schema, number, BUILDING, enrol).await?),
        None => drop(begin(&mut transaction, schema, number, ACTIVE, enrol).await?),
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Begins a generation beside the active one.
pub(crate) async fn begin_beside(
    connection: &mut PgConnection,
    schema: &SchemaName,
    enrol: &Enrol,
) -> Answered<Generation> {
    let mut transaction = connection.begin().await?;
    let number = lock(&mut transaction, schema, &enrol.subscriber).await?;
    let made = match number {
        Some(number) => generations(&mut transaction, schema, number).await?,
        None => Vec::new(),
    };
    let Some(number) = number.filter(|_| !made.is_empty()) else {
        transaction.rollback().await?;
        return Ok(Err(ReadSideError::Unknown(enrol.subscriber.clone())));
    };
    let inline = "SELECT EXISTS (SELECT FROM {schema}.inline i WHERE i.subscriber = $1)";
    let runs_inline: bool =
        query_scalar(schema.statement(inline)).bind(number).fetch_one(&mut *transaction).await?;
    if runs_inline {
        transaction.rollback().await?;
        return Ok(Err(ReadSideError::Unsupported(REBUILDING_INLINE)));
    }
    let generation = begin(&mut transaction, schema, number, BUILDING, enrol).await?;
    transaction.commit().await?;
    Ok(Ok(generation))
}

/// Makes a generation the active one, if that is not further.
pub(crate) async fn activate(
    connection: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Generation,
) -> Answered<Activation> {
    let mut transaction = connection.begin().await?;
    let activated = activate_in(&mut transaction, schema, subscriber, generation).await?;
    match activated {
        Ok(Activation::Done) => transaction.commit().await?,
        Ok(Activation::Behind) | Err(_) => transaction.rollback().await?,
    }
    Ok(activated)
}

/// The same within a transaction, in which the parts of both stay where they are.
pub(super) async fn activate_in(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Generation,
) -> Answered<Activation> {
    lock_parts(transaction, schema, subscriber).await?;
    // A statement of its own: it sees what was committed while the parts were waited for.
    let known = info(transaction, schema, subscriber).await?;
    let with = |role| {
        let generations = known.iter().flat_map(|known| &known.generations);
        generations.into_iter().find(move |made| made.role == role)
    };
    let (active, building) = (with(Role::Active), with(Role::Building));
    if active.is_some_and(|active| active.generation == generation) {
        return Ok(Ok(Activation::Done));
    }
    let Some(building) = building.filter(|building| building.generation == generation) else {
        return Ok(Err(ReadSideError::Unknown(subscriber.clone())));
    };
    if active.is_some_and(|active| !building.is_as_far_as(active)) {
        return Ok(Ok(Activation::Behind));
    }
    Ok(put_in_place(transaction, schema, subscriber, generation).await?.map(|()| Activation::Done))
}

/// Makes a generation the active one, in the place of the one that was, if that was another.
pub(crate) async fn put_in_place(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Generation,
) -> Answered<()> {
    let unknown = || Ok(Err(ReadSideError::Unknown(subscriber.clone())));
    let Some(number) = lock(transaction, schema, subscriber).await? else { return unknown() };
    let made = generations(transaction, schema, number).await?;
    let generation = stored(generation.get());
    let Some(wanted) = made.iter().find(|made| made.generation == generation) else {
        return unknown();
    };
    if wanted.role != ACTIVE {
        forget(transaction, schema, number, ACTIVE).await?;
        let update =
            "UPDATE {schema}.generations SET role = 0 WHERE subscriber = $1 AND generation = $2";
        query(schema.statement(update)).bind(number).bind(generation).execute(transaction).await?;
    }
    Ok(Ok(()))
}

/// Forgets a generation that is being built.
pub(crate) async fn discard(
    connection: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Generation,
) -> Answered<()> {
    let mut transaction = connection.begin().await?;
    discard_in(&mut transaction, schema, subscriber, generation).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// The same within a transaction; says whether there was one.
pub(crate) async fn discard_in(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Generation,
) -> Result<bool, Error> {
    let Some(number) = lock(transaction, schema, subscriber).await? else { return Ok(false) };
    let made = generations(transaction, schema, number).await?;
    let is_it = |made: &&Made| made.role == BUILDING && made.generation == stored(generation.get());
    if made.iter().find(is_it).is_none() {
        return Ok(false);
    }
    forget(transaction, schema, number, BUILDING).await?;
    Ok(true)
}

struct Made {
    generation: i32,
    version: i64,
    role: i16,
}

/// The subscriber's number, once nobody else changes its generations, and the role of one of them,
/// if there is such a one.
pub(crate) async fn find(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
    generation: Option<Generation>,
) -> Result<Option<(i32, Option<Role>)>, Error> {
    let Some(number) = lock(transaction, schema, subscriber).await? else { return Ok(None) };
    let Some(generation) = generation else { return Ok(Some((number, None))) };
    let made = generations(transaction, schema, number).await?;
    let found = made.iter().find(|made| made.generation == stored(generation.get()));
    let role = |made: &Made| if made.role == ACTIVE { Role::Active } else { Role::Building };
    Ok(found.map(|made| (number, Some(role(made)))))
}

/// Waits for those who move the checkpoints of a subscriber, and keeps others from it. Its number.
pub(super) async fn lock_parts(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
) -> Result<Option<i32>, Error> {
    let Some(number) = lock(transaction, schema, subscriber).await? else { return Ok(None) };
    // In the order in which whoever moves several takes them.
    let lock = "SELECT FROM {schema}.parts p WHERE p.subscriber = $1
        ORDER BY p.generation, p.part FOR UPDATE";
    query(schema.statement(lock)).bind(number).execute(transaction).await?;
    Ok(Some(number))
}

/// The subscriber's number, once nobody else changes its generations.
pub(super) async fn lock(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    subscriber: &SubscriberName,
) -> Result<Option<i32>, Error> {
    let select = "SELECT s.id FROM {schema}.subscribers s WHERE s.name = $1 FOR UPDATE";
    query_scalar(schema.statement(select))
        .bind(subscriber.as_str())
        .fetch_optional(transaction)
        .await
}

/// Whether somebody has enrolled as this subscriber.
pub(super) async fn has_generations(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
) -> Result<bool, Error> {
    Ok(!generations(transaction, schema, number).await?.is_empty())
}

async fn generations(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
) -> Result<Vec<Made>, Error> {
    let select = "SELECT g.generation, g.version, g.role FROM {schema}.generations g
        WHERE g.subscriber = $1";
    let rows = query_as::<Postgres, (i32, i64, i16)>(schema.statement(select))
        .bind(number)
        .fetch_all(transaction)
        .await?;
    let made = |(generation, version, role)| Made { generation, version, role };
    Ok(rows.into_iter().map(made).collect())
}

/// Begins a generation in the place of one with the same role.
async fn begin(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
    role: i16,
    enrol: &Enrol,
) -> Result<Generation, Error> {
    forget(transaction, schema, number, role).await?;
    let insert = "WITH counted AS (
            UPDATE {schema}.subscribers s SET last_generation = s.last_generation + 1
            WHERE s.id = $1 RETURNING s.last_generation
        )
        INSERT INTO {schema}.generations (subscriber, generation, version, begun_at, parts, role)
        SELECT $1, c.last_generation, $2, $3, $4, $5 FROM counted c RETURNING generation";
    let generation: i32 = query_scalar(schema.statement(insert))
        .bind(number)
        .bind(i64::from(enrol.version))
        .bind(Moment(enrol.now))
        .bind(stored(enrol.partitions))
        .bind(role)
        .fetch_one(&mut *transaction)
        .await?;
    let insert = "INSERT INTO {schema}.parts (subscriber, generation, part, position, moved_at)
        SELECT $1, $2, n, $3, $4 FROM generate_series(0, $5 - 1) AS n";
    query(schema.statement(insert))
        .bind(number)
        .bind(generation)
        .bind(stored_position(enrol.after))
        .bind(Moment(enrol.now))
        .bind(stored(enrol.partitions))
        .execute(transaction)
        .await?;
    Ok(Generation::new(generation.unsigned_abs()))
}

/// Forgets the generation with this role, if there is one: whoever works it finds its leases lost.
async fn forget(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
    role: i16,
) -> Result<(), Error> {
    let lock = "SELECT FROM {schema}.parts p JOIN {schema}.generations g
            ON g.subscriber = p.subscriber AND g.generation = p.generation
        WHERE g.subscriber = $1 AND g.role = $2 ORDER BY p.part FOR UPDATE OF p";
    query(schema.statement(lock)).bind(number).bind(role).execute(&mut *transaction).await?;
    let delete = "DELETE FROM {schema}.generations g WHERE g.subscriber = $1 AND g.role = $2";
    query(schema.statement(delete)).bind(number).bind(role).execute(transaction).await?;
    Ok(())
}
