//! How a projection applies events on a connection that is in a transaction.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use annals_core::{
    Fault, Generation, Panicked, PoisonEvent, Query, RecordedEvent, RowChange, RowFold, RowKey,
    SubscriberName,
};
use bytes::Bytes;
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnection, PgRow, Postgres};

use crate::PostgresReadSide;
use crate::fault::sqlstate;
use crate::foreign::{caught, checked, is_of_ended};
use crate::read_side::advance::stored;
use crate::read_side::projection::{BoxError, PostgresProjection, PostgresRows};
use crate::read_side::projector::of_moment;
use crate::read_side::rows::{Changes, value};
use crate::read_side::tables::{Called, ProjectionTable};
use crate::row::{get, optional};

/// Why events were not applied.
#[derive(Debug)]
pub(super) enum Stop {
    /// They cannot be.
    Veto(BoxError),
    /// Only the moment is wrong; perhaps it is right at once.
    Moment { error: BoxError, at_once: bool },
    /// The transaction was ended, and nobody knows how.
    Ended(BoxError),
}

impl Stop {
    /// From an error of foreign code.
    pub(super) fn of(error: BoxError) -> Self {
        match of_moment(&*error) {
            Some(at_once) => Self::Moment { error, at_once },
            None if is_of_ended(&*error) => Self::Ended(error),
            None => Self::Veto(error),
        }
    }

    /// From an error of a statement of this crate, which is never the event's fault.
    fn of_server(error: Error) -> Self {
        let at_once = of_moment(&error) == Some(true);
        let error: BoxError = match sqlstate(&error) {
            Some("AN004") => Box::new(Fault::because(OUTDATED, error)),
            _ => Box::new(error),
        };
        Self::Moment { error, at_once }
    }
}

const OUTDATED: &str = "it was ended, or is in another version now; open the store anew";

/// A projection and where its rows are.
#[derive(Clone, Debug)]
pub(super) struct Applier {
    pub(super) read_side: PostgresReadSide,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Fold(Arc<dyn RowFold>),
    Tables(Arc<dyn PostgresProjection>),
}

impl Applier {
    pub(super) fn of_fold(read_side: PostgresReadSide, fold: Arc<dyn RowFold>) -> Self {
        Self { read_side, what: What::Fold(fold) }
    }

    pub(super) fn of_tables(
        read_side: PostgresReadSide,
        projection: Arc<dyn PostgresProjection>,
    ) -> Self {
        Self { read_side, what: What::Tables(projection) }
    }

    pub(super) fn name(&self) -> &SubscriberName {
        match &self.what {
            What::Fold(fold) => fold.name(),
            What::Tables(projection) => projection.name(),
        }
    }

    pub(super) fn version(&self) -> u32 {
        match &self.what {
            What::Fold(fold) => fold.version(),
            What::Tables(projection) => projection.version(),
        }
    }

    pub(super) fn query(&self) -> Query {
        match &self.what {
            What::Fold(fold) => fold.query(),
            What::Tables(projection) => projection.query(),
        }
    }

    pub(super) fn tables(&self) -> Vec<ProjectionTable> {
        match &self.what {
            What::Fold(_) => Vec::new(),
            What::Tables(projection) => projection.tables(),
        }
    }

    /// Its name and version, as the log's trigger asks for it.
    pub(super) fn called(&self) -> String {
        format!("{}@{}", self.name(), self.version())
    }

    /// Applies events to a generation, or to the one that appends keep.
    pub(super) async fn apply(
        &self,
        connection: &mut PgConnection,
        generation: Option<Generation>,
        events: &[RecordedEvent],
    ) -> Result<(), Stop> {
        match &self.what {
            What::Fold(fold) => self.fold(&**fold, connection, generation, events).await,
            What::Tables(projection) => {
                let called = self.called_now(connection, generation).await;
                let called = called.map_err(Stop::of_server)?;
                let mut rows = PostgresRows::new(connection, &called);
                let applied = caught(projection.apply_all(&mut rows, events)).await;
                checked(applied, connection).await.map_err(Stop::of)
            }
        }
    }

    /// What its tables are called in a generation.
    async fn called_now(
        &self,
        connection: &mut PgConnection,
        generation: Option<Generation>,
    ) -> Result<Vec<Called>, Error> {
        let select = "SELECT t.name, t.called
            FROM {schema}.worked_generation($1, $2, $3) g
            LEFT JOIN {schema}.projection_tables t
                ON t.subscriber = g.subscriber AND t.generation = g.generation";
        let rows = query_as::<Postgres, (Option<String>, Option<String>)>(self.statement(select))
            .bind(self.name().as_str())
            .bind(i64::from(self.version()))
            .bind(generation.map(|generation| stored(generation.get())))
            .fetch_all(connection)
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(name, called)| Some(Called::new(name?, called?)))
            .collect())
    }

    async fn fold(
        &self,
        fold: &dyn RowFold,
        connection: &mut PgConnection,
        generation: Option<Generation>,
        events: &[RecordedEvent],
    ) -> Result<(), Stop> {
        let mut keys = BTreeSet::new();
        for event in events {
            keys.extend(folded(|| fold.keys(event))?);
        }
        let present = |key: &RowKey| RowChange { key: key.clone(), value: None };
        keys.iter().try_for_each(|key| self.check(&present(key)))?;
        let locked = self.lock(connection, generation, &keys).await.map_err(Stop::of_server)?;
        let mut rows = locked.rows.clone();
        for event in events {
            folded(|| fold.fold(event, &mut rows, &|_| true))?;
        }
        let changes: Vec<_> = keys
            .into_iter()
            .filter_map(|key| {
                let value = rows.remove(&key);
                // The place of a row that is not there was kept, and is given back.
                let is_as_before = value.is_some() && locked.rows.get(&key) == value.as_ref();
                (!is_as_before).then_some(RowChange { key, value })
            })
            .collect();
        changes.iter().try_for_each(|change| self.check(change))?;
        self.write(connection, &locked, &changes).await
    }

    fn check(&self, change: &RowChange) -> Result<(), Stop> {
        let checked = self.read_side.limits().check_row(change);
        checked.map_err(|invalid| Stop::Veto(invalid.into()))
    }

    async fn lock(
        &self,
        connection: &mut PgConnection,
        generation: Option<Generation>,
        keys: &BTreeSet<RowKey>,
    ) -> Result<Locked, Error> {
        let select = "SELECT g.subscriber, g.generation, r.key, r.value
            FROM {schema}.worked_generation($1, $2, $3) g
            LEFT JOIN LATERAL {schema}.lock_rows(g.subscriber, g.generation, $4) r ON true";
        let keys: Vec<&str> = keys.iter().map(RowKey::as_str).collect();
        let found = query(self.statement(select))
            .bind(self.name().as_str())
            .bind(i64::from(self.version()))
            .bind(generation.map(|generation| stored(generation.get())))
            .bind(keys)
            .fetch_all(connection)
            .await?;
        let first = found.first().ok_or(Error::RowNotFound)?;
        let mut locked =
            Locked { subscriber: get(first, 0)?, generation: get(first, 1)?, rows: HashMap::new() };
        for row in &found {
            locked.rows.extend(locked_row(row)?);
        }
        Ok(locked)
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        locked: &Locked,
        changes: &[RowChange],
    ) -> Result<(), Stop> {
        let columns = Changes::of(changes).map_err(|error| Stop::Veto(error.into()))?;
        if changes.is_empty() {
            return Ok(());
        }
        let write = "WITH dropped AS (
                DELETE FROM {schema}.rows r
                WHERE r.subscriber = $1 AND r.generation = $2 AND r.key = ANY ($5)
            )
            INSERT INTO {schema}.rows (subscriber, generation, key, value)
            SELECT $1, $2, c.key, c.value::json FROM unnest($3::text[], $4::text[]) AS c(key, value)
            ON CONFLICT (subscriber, generation, key) DO UPDATE SET value = excluded.value";
        let written = query(self.statement(write))
            .bind(locked.subscriber)
            .bind(locked.generation)
            .bind(&columns.keys)
            .bind(&columns.values)
            .bind(&columns.gone)
            .execute(connection)
            .await;
        written.map(drop).map_err(|error| match sqlstate(&error) {
            // A value that is no JSON.
            Some("22P02") => Stop::Veto(error.into()),
            _ => Stop::of_server(error),
        })
    }

    fn statement(&self, template: &str) -> sqlx_core::sql_str::AssertSqlSafe<String> {
        self.read_side.schema().statement(template)
    }
}

/// What a fold says, which is the application's code.
fn folded<T>(fold: impl FnOnce() -> Result<T, PoisonEvent>) -> Result<T, Stop> {
    let folded = Panicked::catch(fold).map_err(|panicked| Stop::Veto(panicked.into()))?;
    folded.map_err(|poison| Stop::Veto(poison.into()))
}

/// Rows that nobody else changes before the transaction ends.
struct Locked {
    subscriber: i32,
    generation: i32,
    rows: HashMap<RowKey, Bytes>,
}

fn locked_row(row: &PgRow) -> Result<Option<(RowKey, Bytes)>, Error> {
    let Some(key) = optional::<String>(row, 2)? else { return Ok(None) };
    Ok(Some((RowKey::new(key), value(row, 3)?)))
}
