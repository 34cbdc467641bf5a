//! How a projection gets to the end of the log, from where on every append runs it.
//!
//! First beside those who append, without a lock, until it is near; the rest under the lock that
//! every append shares, together with the note that appends run it from now on. So nothing is
//! missed and nothing applied twice, whoever appends meanwhile.

use std::time::Duration;

use annals_core::{
    Advance, CheckpointStore, Claim, Clock, Enrol, EventId, EventStore, EventStoreExt, Generation,
    Lease, OnNewVersion, Position, Query, Read, ReadError, ReadSideError, RecordedEvent,
    SubscriberName, SystemClock, Timestamp,
};
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;
use tokio::time::{Instant, sleep};

use super::apply::{Applier, Stop};
use crate::connections::Lent;
use crate::fault::{OpenError, chain, sqlstate};
use crate::keys::Keys;
use crate::moment::Moment;
use crate::number::stored_position;
use crate::read_side::advance::Advances;
use crate::read_side::ask::{fetch, is_meeting};
use crate::read_side::projection::BoxError;
use crate::read_side::{generation, tables};
use crate::row::get;
use crate::sql::Sql;
use crate::{PostgresReadSide, PostgresStore};

/// Who works the part of an inline projection: nobody can claim it.
const OWNER: &str = "the appends";
/// How many events are applied in one transaction.
const STRETCH: u64 = 1_000;
/// So few may be left to be applied while nobody appends.
const NEAR: usize = 100;
/// How long the part is claimed for, beyond each stretch.
const LEASE: Duration = Duration::from_secs(60);
/// How long others may stand in the way altogether …
const PATIENCE: Duration = Duration::from_secs(90);
/// … and how soon it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long appends are waited for at once: other appends wait behind. An `autovacuum` makes room
/// after a second.
const LOCK: &str = "SET LOCAL lock_timeout = '1500ms'";

/// Why a projection could not be brought to the end of the log, or from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InlineError {
    /// An event in the log cannot be applied.
    #[error("an event that is in the log already cannot be applied; mend the code")]
    Apply(#[source] BoxError),
    /// Others work it, or hold what is needed, all the time.
    #[error(
        "others work it, or append in transactions that do not end; stop them, `annals doctor` \
         names the latter"
    )]
    Busy,
    /// Its rows are not where the log is.
    #[error("its read side is not in the log's database; open it there")]
    OtherDatabase,
    /// It was begun in several parts, which cannot run inline.
    #[error("its work is divided into {0} parts; count its version up, to build it anew in one")]
    Parts(usize),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The read side refuses, or does not answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// A statement failed.
    #[error("the server refuses, or does not answer")]
    Sql(#[from] Error),
}

impl From<Stop> for InlineError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Veto(error) | Stop::Ended(error) => Self::Apply(error),
            Stop::Moment { error, .. } => match error.downcast::<Error>() {
                Ok(error) => Self::Sql(*error),
                Err(error) => Self::Apply(error),
            },
        }
    }
}

impl PostgresStore {
    /// Sees to it that everything that is inline is at the end of the log.
    pub(crate) async fn begin_inline(&self) -> Result<(), OpenError> {
        for applier in self.shared().hooks.projections() {
            let caught_up = CatchUp { store: self, applier }.run().await;
            caught_up.map_err(|source| OpenError::Inline { by: applier.name().clone(), source })?;
        }
        Ok(())
    }
}

impl PostgresReadSide {
    /// Ends an inline projection: from then on appends need not run it any more, and stores that
    /// were opened with it refuse to append until they are opened anew without it. Its rows stay,
    /// and its checkpoint stands at the end of the log: it can go on behind the log. Does nothing
    /// when it is not inline.
    ///
    /// # Errors
    /// [`InlineError`].
    pub async fn end_inline(
        &self,
        store: &PostgresStore,
        name: &SubscriberName,
    ) -> Result<(), InlineError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut connection = store.shared().source.connections.take().await?;
            let ended = self.end_inline_on(store, &mut connection, name).await;
            match ended {
                Ok(()) => {
                    store.shared().source.connections.give_back(connection);
                    return Ok(());
                }
                Err(error) => wait(error, deadline).await?,
            }
        }
    }

    async fn end_inline_on(
        &self,
        store: &PostgresStore,
        connection: &mut Lent,
        name: &SubscriberName,
    ) -> Result<(), InlineError> {
        let mut transaction = connection.begin().await?;
        lock_log(store, &mut transaction).await?;
        let head = store.head().await?;
        let end = "WITH ended AS (
                DELETE FROM {schema}.inline i USING {schema}.subscribers s
                WHERE s.name = $1 AND i.subscriber = s.id RETURNING i.subscriber
            )
            UPDATE {schema}.parts p
            SET position = $2, owner = NULL, owned_until = NULL, fence = p.fence + 1
            FROM ended e, {schema}.generations g
            WHERE g.subscriber = e.subscriber AND g.role = 0
              AND p.subscriber = e.subscriber AND p.generation = g.generation";
        query(self.schema().statement(end))
            .bind(name.as_str())
            .bind(stored_position(head))
            .execute(&mut *transaction)
            .await
            .map_err(of_database)?;
        transaction.commit().await?;
        Ok(())
    }
}

/// A projection that is to run in the appends of a store.
struct CatchUp<'s> {
    store: &'s PostgresStore,
    applier: &'s Applier,
}

/// Where it stands.
struct Standing {
    lease: Lease,
    position: Position,
}

impl CatchUp<'_> {
    async fn run(&self) -> Result<(), InlineError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = self.once().await;
            match tried {
                Ok(true) => return Ok(()),
                Ok(false) => wait(InlineError::Busy, deadline).await?,
                Err(error) => wait(error, deadline).await?,
            }
        }
    }

    /// Whether it runs in appends now.
    async fn once(&self) -> Result<bool, InlineError> {
        let connections = &self.store.shared().source.connections;
        let mut connection = connections.take().await?;
        self.guard(&mut connection).await?;
        if self.is_inline(&mut connection).await? {
            connections.give_back(connection);
            return Ok(true);
        }
        let generation = self.enrol().await?;
        self.make_tables(generation).await?;
        let Some(lease) = self.claim(generation).await? else { return Ok(false) };
        let position = lease.position;
        let mut standing = Standing { lease, position };
        self.come_near(&mut standing).await?;
        self.arrive(&mut connection, &standing).await?;
        connections.give_back(connection);
        Ok(true)
    }

    /// Makes the trigger that refuses appends which do not run what is inline.
    async fn guard(&self, connection: &mut PgConnection) -> Result<(), InlineError> {
        let exists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = '{log}.events'::regclass AND t.tgname = $1)";
        let name = format!("inline_{}", self.applier.read_side.schema());
        let exists: bool =
            query_scalar(self.statement(exists)).bind(&name).fetch_one(&mut *connection).await?;
        if exists {
            return Ok(());
        }
        let create = "CREATE OR REPLACE TRIGGER {trigger} BEFORE INSERT ON {log}.events
            FOR EACH STATEMENT EXECUTE FUNCTION {schema}.check_inline()";
        let create = create.replace("{trigger}", &format!("\"{name}\""));
        let mut transaction = connection.begin().await?;
        transaction.execute(raw_sql(LOCK)).await?;
        transaction.execute(raw_sql(self.statement(&create))).await.map_err(of_database)?;
        transaction.commit().await?;
        Ok(())
    }

    async fn is_inline(&self, connection: &mut PgConnection) -> Result<bool, InlineError> {
        let exists = "SELECT EXISTS (SELECT FROM {schema}.inline i
            WHERE i.log = $1 AND i.called = $2)";
        let exists = query_scalar(self.statement(exists))
            .bind(self.store.schema().as_str())
            .bind(self.applier.called())
            .fetch_one(connection)
            .await;
        exists.map_err(of_database)
    }

    async fn enrol(&self) -> Result<Generation, InlineError> {
        let (name, version) = (self.applier.name().clone(), self.applier.version());
        let enrol = Enrol {
            subscriber: name.clone(),
            version,
            partitions: 1,
            after: Position::START,
            on_new_version: OnNewVersion::Rebuild,
            now: self.now(),
        };
        let info = self.applier.read_side.enrol(enrol).await?;
        let made = info.generations.into_iter().find(|made| made.version == version);
        let made = made.ok_or(ReadSideError::Unknown(name))?;
        match made.partitions.len() {
            1 => Ok(made.generation),
            parts => Err(InlineError::Parts(parts)),
        }
    }

    async fn make_tables(&self, generation: Generation) -> Result<(), InlineError> {
        let tables = self.applier.tables();
        if tables.is_empty() {
            return Ok(());
        }
        let prepared = self.applier.read_side.make_tables(self.applier.name(), generation, &tables);
        Ok(prepared.await?)
    }

    /// The right to work it; whoever works it behind the log must have stopped.
    async fn claim(&self, generation: Generation) -> Result<Option<Lease>, InlineError> {
        let now = self.now();
        let claim = Claim {
            subscriber: self.applier.name().clone(),
            generation,
            partition: 0,
            owner: format!("the opening of a store, {}", EventId::generate()).into(),
            now,
            until: now.saturating_add(LEASE),
        };
        Ok(self.applier.read_side.claim(claim).await?)
    }

    /// Applies what is in the log, until little is left.
    async fn come_near(&self, standing: &mut Standing) -> Result<(), InlineError> {
        let read_side = &self.applier.read_side;
        let query = self.applier.query();
        loop {
            read_side.renew(&standing.lease, self.now().saturating_add(LEASE)).await?;
            let head = self.store.head().await?;
            let events = self.read(&query, standing.position, head).await?;
            let count = events.len();
            let is_full = count as u64 == STRETCH;
            let to = events.last().filter(|_| is_full).map_or(head, |last| last.position);
            if to > standing.position {
                let mut connection = read_side.connections().take().await?;
                let mut transaction = connection.begin().await?;
                self.apply(&mut transaction, standing, to, &events).await?;
                transaction.commit().await?;
                read_side.connections().give_back(connection);
                standing.position = to;
            }
            if count < NEAR {
                return Ok(());
            }
        }
    }

    /// Applies the rest while nobody appends, and notes that appends run it from now on.
    async fn arrive(
        &self,
        connection: &mut PgConnection,
        standing: &Standing,
    ) -> Result<(), InlineError> {
        let (name, schema) = (self.applier.name(), self.applier.read_side.schema());
        let generation = standing.lease.generation;
        let mut transaction = connection.begin().await?;
        lock_log(self.store, &mut transaction).await?;
        // Nothing is under way, so that the head is the end of the log.
        let head = self.store.head().await?;
        let query = self.applier.query();
        let (mut position, mut is_full) = (standing.position, true);
        while is_full {
            let events = self.read(&query, position, head).await?;
            is_full = events.len() as u64 == STRETCH;
            let to = events.last().map_or(position, |last| last.position);
            let stretch = Standing { lease: standing.lease.clone(), position };
            self.apply(&mut transaction, &stretch, to, &events).await?;
            position = to;
        }
        // It is at the end of the log, and nobody appends: it cannot be behind.
        generation::put_in_place(&mut transaction, schema, name, generation).await??;
        if !self.applier.tables().is_empty() {
            let found = generation::find(&mut transaction, schema, name, Some(generation)).await?;
            let (number, _) = found.ok_or_else(|| ReadSideError::Unknown(name.clone()))?;
            tables::settle(&mut transaction, schema, number).await?;
        }
        self.hand_over(&mut transaction, generation).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn hand_over(
        &self,
        transaction: &mut PgConnection,
        generation: Generation,
    ) -> Result<(), InlineError> {
        let note = "WITH noted AS (
                INSERT INTO {schema}.inline (subscriber, log, called)
                SELECT s.id, $2, $3 FROM {schema}.subscribers s WHERE s.name = $1
                ON CONFLICT (subscriber) DO UPDATE SET log = excluded.log, called = excluded.called
                RETURNING subscriber
            )
            UPDATE {schema}.parts p
            SET position = $4, owner = $5, owned_until = $6, fence = p.fence + 1, moved_at = $8,
                failed_at = NULL, failed_position = NULL, failed_event = NULL, failure = NULL
            FROM noted n WHERE p.subscriber = n.subscriber AND p.generation = $7";
        query(self.statement(note))
            .bind(self.applier.name().as_str())
            .bind(self.store.schema().as_str())
            .bind(self.applier.called())
            .bind(stored_position(Position::END))
            .bind(OWNER)
            .bind(Moment(Timestamp::MAX))
            .bind(crate::read_side::advance::stored(generation.get()))
            .bind(Moment(self.now()))
            .execute(transaction)
            .await?;
        Ok(())
    }

    async fn read(
        &self,
        query: &Query,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<RecordedEvent>, InlineError> {
        let read = Read::query(query.clone()).after(after).up_to(up_to).limit(STRETCH);
        Ok(self.store.read_to_end(read).await?)
    }

    /// Moves the checkpoint and applies events, in a transaction.
    async fn apply(
        &self,
        transaction: &mut PgConnection,
        standing: &Standing,
        to: Position,
        events: &[RecordedEvent],
    ) -> Result<(), InlineError> {
        const ADVANCE: &str =
            "SELECT {schema}.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) IS NULL";
        let lease = &standing.lease;
        let count = events.len() as u64;
        let advance = Advance {
            lease: lease.clone(),
            to,
            events: count,
            parked: Vec::new(),
            now: self.now(),
        };
        let advances = [advance];
        let advance = Advances::of(&advances).bind(Sql::of(ADVANCE), self.now());
        let moved = fetch(transaction, self.applier.read_side.schema(), advance).await;
        let moved = moved.map_err(of_database)?;
        if !matches!(moved.first().map(|row| get(row, 0)), Some(Ok(true))) {
            return Err(ReadSideError::Fenced(lease.subscriber.clone()).into());
        }
        if !events.is_empty() {
            self.applier.apply(transaction, Some(lease.generation), events).await?;
        }
        Ok(())
    }

    /// A statement for the read side's schema and that of the log.
    fn statement(&self, template: &str) -> AssertSqlSafe<String> {
        let log = format!("\"{}\"", self.store.schema());
        self.applier.read_side.schema().statement(&template.replace("{log}", &log))
    }

    fn now(&self) -> Timestamp {
        self.store.moment().unwrap_or_else(|| SystemClock.now())
    }
}

/// Waits for every append that is under way, and keeps others from beginning.
async fn lock_log(
    store: &PostgresStore,
    transaction: &mut PgConnection,
) -> Result<(), InlineError> {
    transaction.execute(raw_sql(LOCK)).await?;
    query("SELECT pg_advisory_xact_lock($1)")
        .bind(Keys::of_log(store.schema()))
        .execute(transaction)
        .await?;
    Ok(())
}

/// Waits before another attempt, where one may help.
async fn wait(error: InlineError, deadline: Instant) -> Result<(), InlineError> {
    let is_passing = match &error {
        InlineError::Busy | InlineError::ReadSide(ReadSideError::Fenced(_)) => true,
        InlineError::Sql(error) => is_meeting(error),
        _ => false,
    };
    if !is_passing {
        return Err(error);
    }
    if Instant::now() >= deadline {
        return Err(match error {
            InlineError::Sql(_) => InlineError::Busy,
            error => error,
        });
    }
    tracing::debug!(error = %chain(&error), "making a projection inline once more");
    sleep(TRY_AGAIN).await;
    Ok(())
}

/// Of a statement about the read side's tables in the log's database.
fn of_database(error: Error) -> InlineError {
    // No such table, function or schema.
    match sqlstate(&error) {
        Some("42P01" | "42883" | "3F000") => InlineError::OtherDatabase,
        _ => InlineError::Sql(error),
    }
}
