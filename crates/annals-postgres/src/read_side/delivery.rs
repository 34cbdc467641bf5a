//! The queue of inboxes.
//!
//! What changes it for a batch at once is a function of the schema: it sees what others committed
//! while it waited for their locks.

use std::time::Duration;

use annals_core::{
    Attempt, Delivery, DeliveryId, DeliveryInfo, DeliveryQueue, Enqueue, EventId, EventRef,
    EventType, InboxInfo, NewDelivery, ReadSideError, SelectDeliveries, Settled, StreamId,
    SubscriberName, Take, Then, Timestamp,
};
use async_trait::async_trait;
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_postgres::{PgConnection, PgRow};

use super::PostgresReadSide;
use super::advance::Advances;
use super::ask::{Answered, fetch, read_side_error, text};
use super::checkpoint::fenced;
use super::select::{OPEN, selected, state};
use crate::moment::Moment;
use crate::number::{count, position, stored_position, stored_version, version};
use crate::row::{get, optional};
use crate::schema::SchemaName;
use crate::sql::Sql;

const ENQUEUE: &str =
    "SELECT e.fenced, e.added FROM {schema}.enqueue($1, $2, $3, $4, $5, $6, $7, $8,
    $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) e";

const TAKE: &str = "SELECT t.event, t.position, t.stream, t.version, t.type, t.id, t.recipient,
        t.lane, t.attempts, t.enqueued_at, t.token
    FROM {schema}.take($1, $2, $3, $4) t";

const SETTLE: &str = "SELECT {schema}.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const KEEP: &str = "WITH kept AS MATERIALIZED (
        SELECT d.id FROM {schema}.deliveries d
        JOIN unnest($1::text[], $2::bigint[]) AS k(id, token) ON k.id = d.id
        WHERE d.token = k.token AND d.state = 2
        ORDER BY d.id FOR NO KEY UPDATE OF d
    )
    UPDATE {schema}.deliveries d SET due_at = $3 FROM kept k WHERE d.id = k.id";

const LIST: &str = "SELECT d.event, d.position, d.stream, d.version, d.type, d.id, d.recipient,
        d.lane, (SELECT i.name FROM {schema}.subscribers i WHERE i.id = d.inbox), d.state,
        d.attempts, d.due_at, d.enqueued_at, d.skipped,
        (SELECT a.error FROM {schema}.attempts a
         WHERE a.delivery = d.id AND a.error IS NOT NULL AND NOT a.late
         ORDER BY a.token DESC LIMIT 1)
    FROM {schema}.deliveries d WHERE ";

const ATTEMPTS: &str = "SELECT a.number, a.at, a.micros, a.error, a.note FROM {schema}.attempts a
    WHERE a.delivery = $1 ORDER BY a.token";

/// Open deliveries as the indexes have them, one branch for each.
const INBOXES: &str = "SELECT s.name,
        count(*) FILTER (WHERE o.state < 2 AND o.attempts = 0),
        count(*) FILTER (WHERE o.state < 2 AND o.attempts > 0),
        count(*) FILTER (WHERE o.state = 2), count(*) FILTER (WHERE o.state = 3),
        min(o.enqueued_at) FILTER (WHERE o.state < 3)
    FROM (
        SELECT d.inbox, d.state, d.attempts, d.enqueued_at FROM {schema}.deliveries d
        WHERE d.head AND d.state = 0
        UNION ALL
        SELECT d.inbox, d.state, d.attempts, d.enqueued_at FROM {schema}.deliveries d
        WHERE d.head AND d.state IN (1, 2)
        UNION ALL
        SELECT d.inbox, d.state, d.attempts, d.enqueued_at FROM {schema}.deliveries d
        WHERE d.state = 3
        UNION ALL
        SELECT d.inbox, d.state, d.attempts, d.enqueued_at FROM {schema}.deliveries d
        WHERE d.lane IS NOT NULL AND d.state < 4 AND NOT d.head AND d.state <> 3
    ) o JOIN {schema}.subscribers s ON s.id = o.inbox
    GROUP BY s.name ORDER BY s.name";

const FORGET: &str = "WITH gone AS (
        DELETE FROM {schema}.deliveries d WHERE d.id = ANY (ARRAY(
            SELECT o.id FROM {schema}.deliveries o
            WHERE o.inbox = (SELECT s.id FROM {schema}.subscribers s WHERE s.name = $1)
                AND o.state > 3 AND o.ended_at < $2
            ORDER BY o.ended_at LIMIT $3 FOR UPDATE SKIP LOCKED))
        RETURNING d.id
    ), theirs AS (
        DELETE FROM {schema}.attempts a WHERE a.delivery = ANY (ARRAY(SELECT g.id FROM gone g))
    )
    SELECT count(*) FROM gone";

#[async_trait]
impl DeliveryQueue for PostgresReadSide {
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64, ReadSideError> {
        const DOING: &str = "enqueueing deliveries";
        enqueue.deliveries.iter().try_for_each(NewDelivery::check)?;
        let advances = Advances::of(&enqueue.advances);
        let new = Columns::of(&enqueue.deliveries);
        let rows = self.ask(DOING, || new.bind(advances.bind(Sql::of(ENQUEUE), now))).await?;
        let answer = || -> Result<_, Error> {
            let row = rows.first().ok_or(Error::RowNotFound)?;
            Ok((optional::<i32>(row, 0)?, get::<i64>(row, 1)?))
        };
        match answer().map_err(|error| read_side_error(DOING, error))? {
            (None, added) => Ok(added.unsigned_abs()),
            (Some(number), _) => {
                let place = usize::try_from(number - 1).unwrap_or_default();
                Err(fenced(&enqueue.advances[place].lease))
            }
        }
    }

    async fn take(&self, take: Take) -> Result<Vec<Delivery>, ReadSideError> {
        const DOING: &str = "taking deliveries";
        let rows = self.ask(DOING, || {
            Sql::of(TAKE)
                .value(take.inbox.as_str())
                .value(count(take.limit))
                .value(Moment(take.now))
                .value(Moment(take.until))
        });
        let rows = rows.await?;
        let taken = rows.iter().map(|row| delivery(&take.inbox, row)).collect::<Result<_, _>>();
        taken.map_err(|error| read_side_error(DOING, error))
    }

    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<(), ReadSideError> {
        if settled.is_empty() {
            return Ok(());
        }
        let settled = Outcomes::of(&settled);
        self.ask("settling deliveries", || settled.bind(Sql::of(SETTLE), now)).await.map(drop)
    }

    async fn keep(
        &self,
        taken: &[(DeliveryId, u64)],
        until: Timestamp,
    ) -> Result<(), ReadSideError> {
        let ids: Vec<&str> = taken.iter().map(|(id, _)| id.as_str()).collect();
        let tokens: Vec<i64> = taken.iter().map(|(_, token)| token.cast_signed()).collect();
        let kept = self.ask("keeping deliveries", || {
            Sql::of(KEEP).value(&ids).value(&tokens).value(Moment(until))
        });
        kept.await.map(drop)
    }

    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>, ReadSideError> {
        const DOING: &str = "looking for the next delivery";
        let rows =
            self.ask(DOING, || Sql::of("SELECT {schema}.next_due($1)").value(inbox.as_str()));
        let due = rows.await?.first().map(|row| optional::<Moment>(row, 0)).transpose();
        let due = due.map_err(|error| read_side_error(DOING, error))?;
        Ok(due.flatten().map(|moment| moment.0))
    }

    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        const DOING: &str = "listing deliveries";
        let rows = self.ask(DOING, || {
            let mut sql = Sql::of(LIST);
            selected(&mut sql, which);
            sql.push(" ORDER BY d.position, d.id LIMIT ").bind(i64::from(count(limit)));
            sql
        });
        let rows = rows.await?;
        let infos = rows.iter().map(info).collect::<Result<_, _>>();
        infos.map_err(|error| read_side_error(DOING, error))
    }

    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError> {
        const DOING: &str = "listing attempts";
        let rows = self.ask(DOING, || Sql::of(ATTEMPTS).value(id.as_str())).await?;
        let attempts = rows.iter().map(attempt).collect::<Result<_, _>>();
        attempts.map_err(|error| read_side_error(DOING, error))
    }

    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64, ReadSideError> {
        let retried = self.ask("retrying deliveries", || {
            let mut sql = chosen(which, "(d.state = 3 OR d.state < 2 AND d.attempts > 0)");
            sql.push("UPDATE {schema}.deliveries d SET state = 0, attempts = 0, due_at = ");
            sql.bind(Moment(now)).push(CHOSEN).push(" RETURNING 1");
            sql
        });
        Ok(retried.await?.len() as u64)
    }

    async fn skip(
        &self,
        which: &SelectDeliveries,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, ReadSideError> {
        let (schema, reason) = (self.schema(), text(reason));
        let skipped = self.attempt("skipping deliveries", async |mut connection| {
            let skipped = skip(&mut connection, schema, which, &reason, now).await;
            (connection, skipped)
        });
        skipped.await
    }

    async fn inboxes(&self) -> Result<Vec<InboxInfo>, ReadSideError> {
        const DOING: &str = "counting deliveries";
        let rows = self.ask(DOING, || Sql::of(INBOXES)).await?;
        let infos = rows.iter().map(inbox).collect::<Result<_, _>>();
        infos.map_err(|error| read_side_error(DOING, error))
    }

    async fn forget(
        &self,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, ReadSideError> {
        const DOING: &str = "forgetting deliveries";
        let rows = self.ask(DOING, || {
            Sql::of(FORGET)
                .value(inbox.as_str())
                .value(Moment(before))
                .value(i64::from(count(limit)))
        });
        let forgotten = rows.await?.first().map(|row| get::<i64>(row, 0)).transpose();
        let forgotten = forgotten.map_err(|error| read_side_error(DOING, error))?;
        Ok(forgotten.unwrap_or_default().unsigned_abs())
    }
}

/// The statement's beginning: the deliveries that are selected and in such a state, locked.
fn chosen(which: &SelectDeliveries, is_in: &'static str) -> Sql {
    let mut sql =
        Sql::of("WITH chosen AS MATERIALIZED (SELECT d.id FROM {schema}.deliveries d WHERE ");
    sql.push(OPEN).push(" AND ").push(is_in).push(" AND ");
    selected(&mut sql, which);
    sql.push(" ORDER BY d.id FOR NO KEY UPDATE OF d) ");
    sql
}

/// Those that were chosen. As an array, because a join would be planned for as many as there might
/// be, and go through all deliveries for a few.
const CHOSEN: &str = " WHERE d.id = ANY (ARRAY(SELECT c.id FROM chosen c))";

async fn skip(
    connection: &mut PgConnection,
    schema: &SchemaName,
    which: &SelectDeliveries,
    reason: &str,
    now: Timestamp,
) -> Answered<u64> {
    let mut transaction = connection.begin().await?;
    // Lanes lose their heads, as when they are settled, but not only those.
    let mut lock = Sql::of("SELECT {schema}.lock_lanes(ARRAY(");
    match (&which.id, &which.inbox) {
        (Some(id), _) => {
            lock.push("SELECT d.inbox FROM {schema}.deliveries d WHERE d.id = ").bind(id.as_str())
        }
        (_, Some(inbox)) => lock
            .push("SELECT s.id FROM {schema}.subscribers s WHERE s.name = ")
            .bind(inbox.as_str()),
        _ => lock.push("SELECT s.id FROM {schema}.subscribers s"),
    };
    lock.push("), true)");
    fetch(&mut transaction, schema, lock).await?;

    let mut update = chosen(which, "d.state IN (0, 1, 3)");
    update
        .push(", skipped AS (UPDATE {schema}.deliveries d SET state = 5, head = false, skipped = ");
    update.bind(reason).push(", ended_at = ").bind(Moment(now)).push(CHOSEN).push(
        " RETURNING d.inbox, d.lane, d.position
        ), lanes AS (
            SELECT s.inbox, s.lane, min(s.position) AS position, count(*) AS deliveries
            FROM skipped s GROUP BY s.inbox, s.lane
        )
        SELECT coalesce(sum(l.deliveries), 0)::bigint, coalesce(array_agg(l.inbox), '{}'),
               coalesce(array_agg(l.lane), '{}'), coalesce(array_agg(l.position), '{}') FROM lanes l",
    );
    let rows = fetch(&mut transaction, schema, update).await?;
    let row = rows.first().ok_or(Error::RowNotFound)?;
    let raise = Sql::of("SELECT {schema}.raise_heads($1, $2, $3)")
        .value(get::<Vec<i32>>(row, 1)?)
        .value(get::<Vec<Option<String>>>(row, 2)?)
        .value(get::<Vec<i64>>(row, 3)?);
    fetch(&mut transaction, schema, raise).await?;
    transaction.commit().await?;
    Ok(Ok(get::<i64>(row, 0)?.unsigned_abs()))
}

/// New deliveries as columns.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<&'a str>,
    inboxes: Vec<&'a str>,
    events: Vec<uuid::Uuid>,
    positions: Vec<i64>,
    streams: Vec<&'a str>,
    versions: Vec<i64>,
    types: Vec<&'a str>,
    recipients: Vec<Option<&'a str>>,
    lanes: Vec<Option<&'a str>>,
    dues: Vec<Moment>,
}

impl<'a> Columns<'a> {
    fn of(deliveries: &'a [NewDelivery]) -> Self {
        let mut columns = Self::default();
        for new in deliveries {
            columns.ids.push(new.id.as_str());
            columns.inboxes.push(new.inbox.as_str());
            columns.events.push(uuid::Uuid::from(new.event.id));
            columns.positions.push(stored_position(new.event.position));
            columns.streams.push(new.event.stream.as_str());
            columns.versions.push(stored_version(new.event.version));
            columns.types.push(new.event.event_type.as_str());
            columns.recipients.push(new.recipient.as_deref());
            columns.lanes.push(new.lane.as_deref());
            columns.dues.push(Moment(new.due_at));
        }
        columns
    }

    fn bind(&self, sql: Sql) -> Sql {
        sql.value(&self.ids)
            .value(&self.inboxes)
            .value(&self.events)
            .value(&self.positions)
            .value(&self.streams)
            .value(&self.versions)
            .value(&self.types)
            .value(&self.recipients)
            .value(&self.lanes)
            .value(&self.dues)
    }
}

/// What came of attempts, as columns.
#[derive(Default)]
struct Outcomes<'a> {
    ids: Vec<&'a str>,
    tokens: Vec<i64>,
    outcomes: Vec<i16>,
    dues: Vec<Option<Moment>>,
    numbers: Vec<Option<i32>>,
    begun: Vec<Option<Moment>>,
    micros: Vec<Option<i64>>,
    errors: Vec<Option<String>>,
    notes: Vec<Option<String>>,
}

impl<'a> Outcomes<'a> {
    fn of(settled: &'a [Settled]) -> Self {
        let mut columns = Self::default();
        for settled in settled {
            let (outcome, due) = match settled.then {
                Then::Done => (0, None),
                Then::Again(due) => (1, Some(Moment(due))),
                Then::GiveBack(due) => (2, Some(Moment(due))),
                Then::Dead => (3, None),
            };
            let attempt = settled.attempt.as_ref();
            columns.ids.push(settled.id.as_str());
            columns.tokens.push(settled.token.cast_signed());
            columns.outcomes.push(outcome);
            columns.dues.push(due);
            columns
                .numbers
                .push(attempt.map(|made| i32::try_from(made.number).unwrap_or(i32::MAX)));
            columns.begun.push(attempt.map(|made| Moment(made.at)));
            columns.micros.push(attempt.map(|made| micros(made.duration)));
            columns.errors.push(attempt.and_then(|made| made.error.as_deref()).map(text));
            columns.notes.push(attempt.and_then(|made| made.note.as_deref()).map(text));
        }
        columns
    }

    fn bind(&self, sql: Sql, now: Timestamp) -> Sql {
        sql.value(Moment(now))
            .value(&self.ids)
            .value(&self.tokens)
            .value(&self.outcomes)
            .value(&self.dues)
            .value(&self.numbers)
            .value(&self.begun)
            .value(&self.micros)
            .value(&self.errors)
            .value(&self.notes)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The first five columns.
fn event(row: &PgRow) -> Result<EventRef, Error> {
    Ok(EventRef {
        id: EventId::from(get::<uuid::Uuid>(row, 0)?),
        position: position(get(row, 1)?),
        stream: StreamId::from_stored(get::<&str>(row, 2)?),
        version: version(get(row, 3)?),
        event_type: EventType::from_stored(get::<&str>(row, 4)?),
    })
}

fn delivery(inbox: &SubscriberName, row: &PgRow) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: DeliveryId::from_stored(get::<&str>(row, 5)?),
        inbox: inbox.clone(),
        event: event(row)?,
        recipient: optional(row, 6)?,
        lane: optional(row, 7)?,
        attempt: get::<i32>(row, 8)?.unsigned_abs(),
        enqueued_at: get::<Moment>(row, 9)?.0,
        token: get::<i64>(row, 10)?.unsigned_abs(),
    })
}

fn info(row: &PgRow) -> Result<DeliveryInfo, Error> {
    Ok(DeliveryInfo {
        id: DeliveryId::from_stored(get::<&str>(row, 5)?),
        inbox: SubscriberName::from_stored(get::<&str>(row, 8)?),
        event: event(row)?,
        recipient: optional(row, 6)?,
        lane: optional(row, 7)?,
        state: state(get(row, 9)?),
        attempts: get::<i32>(row, 10)?.unsigned_abs(),
        due_at: get::<Moment>(row, 11)?.0,
        enqueued_at: get::<Moment>(row, 12)?.0,
        skipped: optional(row, 13)?,
        last_error: optional(row, 14)?,
    })
}

fn attempt(row: &PgRow) -> Result<Attempt, Error> {
    Ok(Attempt {
        number: get::<i32>(row, 0)?.unsigned_abs(),
        at: get::<Moment>(row, 1)?.0,
        duration: Duration::from_micros(get::<i64>(row, 2)?.unsigned_abs()),
        error: optional(row, 3)?,
        note: optional(row, 4)?,
    })
}

fn inbox(row: &PgRow) -> Result<InboxInfo, Error> {
    let number = |column| Ok::<_, Error>(get::<i64>(row, column)?.unsigned_abs());
    Ok(InboxInfo {
        inbox: SubscriberName::from_stored(get::<&str>(row, 0)?),
        waiting: number(1)?,
        retrying: number(2)?,
        taken: number(3)?,
        dead: number(4)?,
        oldest: optional::<Moment>(row, 5)?.map(|moment| moment.0),
    })
}
