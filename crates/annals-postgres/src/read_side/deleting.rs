//! Deleting subscribers: first their generations with the tables, so that nobody works them any
//! more; then what may be much, some of it at a time; at last their names.
//!
//! Each step is a transaction that locks the subscriber first, as all that changes generations.

use annals_core::{Deleted, ReadSideError, SubscriberName, Timestamp, UsedBy};
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use super::PostgresReadSide;
use super::ask::Answered;
use super::change::{lock_parts_for_long, lock_tables_for_short};
use super::generation::{has_generations, lock, lock_parts};
use super::tables;
use crate::moment::Moment;
use crate::schema::SchemaName;

/// How many rows or deliveries go in one transaction.
const STEP: i64 = 1_000;
const DOING: &str = "deleting a subscriber";

const OWNER: &str = "SELECT p.owner, p.owned_until FROM {schema}.parts p
    WHERE p.subscriber = $1 AND p.owner IS NOT NULL AND p.owned_until > $2
    ORDER BY p.generation, p.part LIMIT 1";

/// Along the indexes of heads, and of lanes for those that are none any more.
const TAKEN: &str = "SELECT count(*), max(t.due_at) FROM (
        SELECT d.due_at FROM {schema}.deliveries d
        WHERE d.inbox = $1 AND d.head AND d.state IN (1, 2) AND d.state = 2 AND d.due_at > $2
        UNION ALL
        SELECT d.due_at FROM {schema}.deliveries d
        WHERE d.inbox = $1 AND d.lane IS NOT NULL AND d.state < 4 AND NOT d.head AND d.state = 2
          AND d.due_at > $2
    ) t";

/// Lanes go from their ends, so that what is left of one has its head.
const DELETE_DELIVERIES: &str = "DELETE FROM {schema}.deliveries d WHERE d.id = ANY (ARRAY(
        SELECT o.id FROM {schema}.deliveries o WHERE o.inbox = $1
        ORDER BY o.position DESC, o.id DESC LIMIT $2))
    RETURNING d.id";

const DELETE_ATTEMPTS: &str = "DELETE FROM {schema}.attempts a WHERE a.delivery = ANY ($1)";

const DELETE_ROWS: &str = "DELETE FROM {schema}.rows r WHERE r.ctid = ANY (ARRAY(
        SELECT o.ctid FROM {schema}.rows o WHERE o.subscriber = $1 LIMIT $2))";

const DELETE_NAME: &str = "DELETE FROM {schema}.subscribers s WHERE s.id = $1
    AND NOT EXISTS (SELECT FROM {schema}.deliveries d WHERE d.inbox = s.id)";

impl PostgresReadSide {
    pub(super) async fn delete_all(
        &self,
        name: &SubscriberName,
        now: Timestamp,
    ) -> Result<Deleted, ReadSideError> {
        let schema = self.schema();
        let begun = self.patiently(DOING, async |mut connection| {
            let begun = begin(&mut connection, schema, name, now).await;
            (connection, begun)
        });
        let (number, mut deleted) = begun.await?;
        loop {
            let step = self.attempt(DOING, async |mut connection| {
                let step = go_on(&mut connection, schema, name, number).await;
                (connection, step)
            });
            let step = step.await?;
            deleted.deliveries += step.deliveries;
            deleted.rows += step.rows;
            if !step.is_empty() {
                continue;
            }
            let ended = self.attempt(DOING, async |mut connection| {
                let ended = end(&mut connection, schema, name, number).await;
                (connection, ended)
            });
            if ended.await? {
                return Ok(deleted);
            }
        }
    }
}

async fn begin(
    connection: &mut PgConnection,
    schema: &SchemaName,
    name: &SubscriberName,
    now: Timestamp,
) -> Answered<(i32, Deleted)> {
    let mut transaction = connection.begin().await?;
    let begun = begin_in(&mut transaction, schema, name, now).await?;
    match begun {
        Ok(_) => transaction.commit().await?,
        Err(_) => transaction.rollback().await?,
    }
    Ok(begun)
}

async fn begin_in(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    name: &SubscriberName,
    now: Timestamp,
) -> Answered<(i32, Deleted)> {
    lock_parts_for_long(transaction).await?;
    let Some(number) = lock_parts(transaction, schema, name).await? else {
        return Ok(Err(ReadSideError::Unknown(name.clone())));
    };
    if let Some(by) = used_by(transaction, schema, number, now).await? {
        return Ok(Err(ReadSideError::InUse { subscriber: name.clone(), by }));
    }
    let parked = "SELECT count(*) FROM {schema}.parked k WHERE k.subscriber = $1";
    let parked: i64 =
        query_scalar(schema.statement(parked)).bind(number).fetch_one(&mut *transaction).await?;
    for statement in [
        // With their parts, and what these have parked.
        "DELETE FROM {schema}.generations g WHERE g.subscriber = $1",
        "UPDATE {schema}.subscribers s SET state = 0 WHERE s.id = $1 AND s.state <> 0",
    ] {
        query(schema.statement(statement)).bind(number).execute(&mut *transaction).await?;
    }
    lock_tables_for_short(transaction).await?;
    let mut tables = tables::settle(transaction, schema, number).await?;
    tables.sort();
    let parked = parked.unsigned_abs();
    Ok(Ok((number, Deleted { parked, tables, ..Deleted::default() })))
}

async fn used_by(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
    now: Timestamp,
) -> Result<Option<UsedBy>, Error> {
    let inline = "SELECT EXISTS (SELECT FROM {schema}.inline i WHERE i.subscriber = $1)";
    let runs_inline =
        query_scalar(schema.statement(inline)).bind(number).fetch_one(&mut *transaction).await?;
    if runs_inline {
        return Ok(Some(UsedBy::Appends));
    }
    let owner = query_as::<Postgres, (String, Moment)>(schema.statement(OWNER))
        .bind(number)
        .bind(Moment(now))
        .fetch_optional(&mut *transaction)
        .await?;
    if let Some((owner, until)) = owner {
        return Ok(Some(UsedBy::Owner { owner, until: until.0 }));
    }
    let (deliveries, until) = query_as::<Postgres, (i64, Option<Moment>)>(schema.statement(TAKEN))
        .bind(number)
        .bind(Moment(now))
        .fetch_one(transaction)
        .await?;
    let deliveries = deliveries.unsigned_abs();
    Ok(until.map(|until| UsedBy::Deliveries { deliveries, until: until.0 }))
}

/// What went in one transaction.
#[derive(Default)]
struct Step {
    deliveries: u64,
    rows: u64,
}

impl Step {
    fn is_empty(&self) -> bool {
        self.deliveries == 0 && self.rows == 0
    }
}

async fn go_on(
    connection: &mut PgConnection,
    schema: &SchemaName,
    name: &SubscriberName,
    number: i32,
) -> Answered<Step> {
    let mut transaction = connection.begin().await?;
    match still_deleting(&mut transaction, schema, name, number).await? {
        Ok(true) => {}
        refused => {
            transaction.rollback().await?;
            return Ok(refused.map(|_| Step::default()));
        }
    }
    // Whoever adds to its lanes would find heads there that go now.
    let alone = "SELECT {schema}.lock_lanes(ARRAY[$1], true)";
    query(schema.statement(alone)).bind(number).execute(&mut *transaction).await?;
    let deliveries: Vec<String> = query_scalar(schema.statement(DELETE_DELIVERIES))
        .bind(number)
        .bind(STEP)
        .fetch_all(&mut *transaction)
        .await?;
    // A statement of its own: it sees the attempts that were settled while they were waited for.
    query(schema.statement(DELETE_ATTEMPTS)).bind(&deliveries).execute(&mut *transaction).await?;
    let rows = query(schema.statement(DELETE_ROWS))
        .bind(number)
        .bind(STEP)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    transaction.commit().await?;
    Ok(Ok(Step { deliveries: deliveries.len() as u64, rows }))
}

/// Takes the name away; whether nothing is left of it. Deliveries may have come meanwhile.
async fn end(
    connection: &mut PgConnection,
    schema: &SchemaName,
    name: &SubscriberName,
    number: i32,
) -> Answered<bool> {
    let mut transaction = connection.begin().await?;
    match still_deleting(&mut transaction, schema, name, number).await? {
        Ok(true) => {}
        refused => {
            transaction.rollback().await?;
            return Ok(refused.map(|_| true));
        }
    }
    let alone = "SELECT {schema}.lock_lanes(ARRAY[0], true)";
    query(schema.statement(alone)).execute(&mut *transaction).await?;
    let deleted =
        query(schema.statement(DELETE_NAME)).bind(number).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Ok(deleted.rows_affected() > 0))
}

/// Whether something is left of it, which nobody else changes now. It may be another one that has
/// the name.
async fn still_deleting(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    name: &SubscriberName,
    number: i32,
) -> Answered<bool> {
    if lock(transaction, schema, name).await? != Some(number) {
        return Ok(Ok(false));
    }
    if has_generations(transaction, schema, number).await? {
        let by = UsedBy::Restarted;
        return Ok(Err(ReadSideError::InUse { subscriber: name.clone(), by }));
    }
    Ok(Ok(true))
}
