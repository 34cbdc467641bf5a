//! From one table to partitions, while the log is in use.
//!
//! Everything that takes long is done beside the appends and can be taken up again where it was
//! left: noting the ids of all events, and proving that all positions are below a bound. Only the
//! moment in which the table becomes a partition has the log to itself.

use std::num::NonZeroU64;

use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::transaction::Transaction;
use sqlx_postgres::{PgConnection, Postgres};

use super::{PartitionError, is_partitioned};
use crate::PostgresStore;
use crate::fault::chain;
use crate::schema::SchemaName;

const PREPARE: &str = include_str!("../schema/partition.sql");
const SWAP: &str = include_str!("../schema/partition_swap.sql");

/// More groups than a thousand a second make in thirty years.
const EVERY_MAX: u64 = 1 << 40;
/// The ids of so many events are noted at a time.
const NOTED_AT_ONCE: i64 = 50_000;
/// The second partition begins so many groups above what was given out when the bound was chosen:
/// the log goes on while the bound is proved. Below 2³⁰, so that open appends are known by the
/// lower bits of their marks, and small beside the 2⁴¹ groups there are.
const ROOM: i64 = 1 << 28;

/// Proved without keeping anybody waiting, and taken by the server for a proof when the table
/// becomes a partition.
const BOUND: &str = "DO $$ BEGIN
    ALTER TABLE {schema}.events DROP CONSTRAINT IF EXISTS events_before_origin;
    EXECUTE format('ALTER TABLE {schema}.events ADD CONSTRAINT events_before_origin
                    CHECK (position < %s) NOT VALID',
                   (SELECT p.origin * 4096 FROM {schema}.partitioning p));
END $$";
const PROVE: &str = "ALTER TABLE {schema}.events VALIDATE CONSTRAINT events_before_origin";
const UNBOUND: &str = "ALTER TABLE {schema}.events DROP CONSTRAINT IF EXISTS events_before_origin";

/// What knows the table by its number and would stay with the first partition, or stop working.
const IN_THE_WAY: &str = "
    SELECT format('the foreign key %s of %s', o.conname, o.conrelid::regclass) FROM pg_constraint o
    WHERE o.contype = 'f' AND '{schema}.events'::regclass IN (o.confrelid, o.conrelid)
    UNION ALL
    SELECT format('the trigger %s of %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t
    WHERE t.tgrelid = '{schema}.events'::regclass AND NOT t.tgisinternal AND t.tgname NOT IN
        ('events_are_immutable', 'events_are_not_truncated', 'events_note_ids')
    UNION ALL
    SELECT format('the materialized view %s', c.oid::regclass)
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = '{schema}.events'::regclass
      AND c.relkind = 'm'
    UNION ALL
    SELECT format('the place of the log in the publication %s', p.pubname)
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    WHERE r.prrelid = '{schema}.events'::regclass
    UNION ALL
    SELECT format('the policy %s of %s', p.polname, p.polrelid::regclass) FROM pg_policy p
    WHERE p.polrelid = '{schema}.events'::regclass";

impl PostgresStore {
    /// Splits the log into partitions of so many groups of appends, from the next one on. A group
    /// has at least one event, a few under load, and at most 4,096. What is there already becomes
    /// the first partition, `events_0`, as it is. This cannot be undone.
    ///
    /// The log stays in use. The ids of all its events are noted in a table of their own and all
    /// its rows are looked at, which takes as long as it takes and can be given up and begun
    /// again; only then do appends and reads wait, for a moment. Every store goes on as it was.
    ///
    /// Every append and every read of a stream looks into each partition: make dozens of
    /// partitions, not thousands.
    ///
    /// The user must own the log. Views are made anew, and rights are kept. What else an
    /// application hangs on the table stands in the way: foreign keys, triggers, materialized
    /// views, publications, policies.
    ///
    /// # Errors
    /// [`PartitionError`]. The log is then as it was, or the next call goes on from there.
    pub async fn partition(&self, every: NonZeroU64) -> Result<(), PartitionError> {
        if every.get() > EVERY_MAX {
            return Err(PartitionError::TooLarge { max: EVERY_MAX });
        }
        let every = every.get().cast_signed();
        let schema = self.schema();
        // Not one of the store's own: what is set for it goes with it.
        let mut connection = self.pool().acquire().await?.detach();
        prepare(&mut connection, schema, every).await?;
        while !note_ids(&mut connection, schema).await? {}
        if !is_partitioned(&mut connection, schema).await? {
            bind(&mut connection, schema).await?;
            let swapped = swap(&mut connection, schema).await;
            if swapped.is_err()
                && let Err(error) = unbind(&mut connection, schema).await
            {
                tracing::warn!(error = %chain(&error), "the log has kept a bound; appends drop it");
            }
            swapped?;
        }
        advance(&mut connection, schema).await?;
        self.extend_partitions().await?;
        // Nothing else counts the rows of the whole; each partition is seen to by itself.
        query(schema.statement("ANALYZE {schema}.events")).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

/// A transaction in which only one process converts the log, as its owner.
pub(super) async fn alone<'c>(
    connection: &'c mut PgConnection,
    schema: &SchemaName,
) -> Result<Transaction<'c, Postgres>, Error> {
    let mut transaction = connection.begin().await?;
    query("SELECT set_config('lock_timeout', '5s', true)").execute(&mut *transaction).await?;
    query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("annals partition {schema}"))
        .execute(&mut *transaction)
        .await?;
    let as_owner = "SELECT set_config('role', pg_get_userbyid(c.relowner)::text, true)
                    FROM pg_class c WHERE c.oid = '{schema}.events'::regclass";
    query(schema.statement(as_owner)).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Makes the table of ids, which every append fills from now on, and the functions.
async fn prepare(
    connection: &mut PgConnection,
    schema: &SchemaName,
    every: i64,
) -> Result<(), PartitionError> {
    let mut transaction = alone(connection, schema).await?;
    let begun = "SELECT to_regclass('{schema}.partitioning') IS NOT NULL";
    let begun: bool = query_scalar(schema.statement(begun)).fetch_one(&mut *transaction).await?;
    if begun {
        let select = schema.statement("SELECT every FROM {schema}.partitioning");
        let found: i64 = query_scalar(select).fetch_one(&mut *transaction).await?;
        return match found == every {
            true => Ok(()),
            false => Err(PartitionError::Already { every: found.unsigned_abs() }),
        };
    }
    stands_in_the_way(&mut transaction, schema).await?;
    transaction.execute(raw_sql(schema.statement(PREPARE))).await?;
    // The trigger had to wait for every append: what is committed now is all it has not seen.
    let insert = "INSERT INTO {schema}.partitioning (every, to_note)
                  SELECT $1, coalesce(max(e.position), 0) FROM {schema}.events e";
    query(schema.statement(insert)).bind(every).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

async fn stands_in_the_way(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), PartitionError> {
    let what = query_scalar(schema.statement(IN_THE_WAY)).fetch_optional(connection).await?;
    what.map_or(Ok(()), |what| Err(PartitionError::InTheWay { what }))
}

/// Notes some of the ids that were there before; whether those were the last.
async fn note_ids(connection: &mut PgConnection, schema: &SchemaName) -> Result<bool, Error> {
    let mut transaction = alone(connection, schema).await?;
    let insert = "INSERT INTO {schema}.ids (id, position)
        SELECT e.id, e.position FROM {schema}.events e, {schema}.partitioning p
        WHERE e.position > p.noted AND e.position <= p.to_note ORDER BY e.position LIMIT $1";
    query(schema.statement(insert)).bind(NOTED_AT_ONCE).execute(&mut *transaction).await?;
    let update = "UPDATE {schema}.partitioning p SET noted = coalesce(
            (SELECT max(l.position) FROM (SELECT e.position FROM {schema}.events e
             WHERE e.position > p.noted AND e.position <= p.to_note
             ORDER BY e.position LIMIT $1) l), p.to_note)
        RETURNING noted >= to_note";
    let done = query_scalar(schema.statement(update)).bind(NOTED_AT_ONCE);
    let done: bool = done.fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done)
}

/// Bounds what the table can have in it.
async fn bind(connection: &mut PgConnection, schema: &SchemaName) -> Result<(), Error> {
    let mut transaction = alone(connection, schema).await?;
    if is_partitioned(&mut transaction, schema).await? {
        return Ok(());
    }
    let choose = "UPDATE {schema}.partitioning SET origin =
                      coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) + $1";
    query(schema.statement(choose)).bind(ROOM).execute(&mut *transaction).await?;
    transaction.execute(raw_sql(schema.statement(BOUND))).await?;
    transaction.commit().await
}

/// Left alone the bound would stop the log, some day: until a writer meets it and drops it.
async fn unbind(connection: &mut PgConnection, schema: &SchemaName) -> Result<(), Error> {
    let mut transaction = alone(connection, schema).await?;
    if !is_partitioned(&mut transaction, schema).await? {
        query(schema.statement(UNBOUND)).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Makes the table the first partition of a new one.
async fn swap(connection: &mut PgConnection, schema: &SchemaName) -> Result<(), PartitionError> {
    // Reads the whole table; appends go on.
    query(schema.statement(PROVE)).execute(&mut *connection).await?;
    let mut transaction = alone(connection, schema).await?;
    if is_partitioned(&mut transaction, schema).await? {
        return Ok(());
    }
    stands_in_the_way(&mut transaction, schema).await?;
    transaction.execute(raw_sql(schema.statement(SWAP))).await?;
    transaction.commit().await?;
    Ok(())
}

/// Lets the log go on in the second partition, so that the first one is closed.
async fn advance(connection: &mut PgConnection, schema: &SchemaName) -> Result<(), Error> {
    let mut transaction = alone(connection, schema).await?;
    let behind = "SELECT p.origin - 1 FROM {schema}.partitioning p
                  WHERE coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) < p.origin - 1";
    let origin = query_as::<Postgres, (i64,)>(schema.statement(behind));
    if let Some((last,)) = origin.fetch_optional(&mut *transaction).await? {
        query_scalar::<_, i64>(schema.statement("SELECT setval('{schema}.positions', $1)"))
            .bind(last)
            .fetch_one(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
