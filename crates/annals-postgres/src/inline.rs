//! What runs in the transactions of appends: inline projections and in-transaction reactors.
//!
//! `apply` lets a projection apply events, `append` is an append with all that runs in it, and
//! `catch_up` brings a projection to the end of the log before it runs there.

mod append;
mod apply;
mod catch_up;

use std::fmt;
use std::sync::Arc;

use annals_core::{
    Append, AppendError, Fault, Query, Receipt, RecordedEvent, RowFold, StreamAppend,
    SubscriberName, Tags, Version,
};
use async_trait::async_trait;
use sqlx_postgres::PgConnection;

use crate::PostgresReadSide;
use crate::foreign::{caught, checked};
use crate::read_side::projection::{BoxError, PostgresProjection};

pub(crate) use append::Part;
pub use catch_up::InlineError;

use apply::{Applier, Stop};

/// A projection or a reactor that runs in the transaction of every append
/// ([`Options::inline`](crate::Options::inline)).
///
/// It runs after the events are written and before they are committed, in
/// [`append`](annals_core::EventStore::append) as well as in
/// [`append_in`](crate::PostgresStore::append_in), and not when an append is a repeat. When it
/// fails or panics the append is [`Vetoed`](AppendError::Vetoed), and nothing of it stays; the
/// application's own transaction goes on. So it is when it passes over an error of the server,
/// after which nothing of a transaction can stay.
///
/// What it costs: appends are not grouped any more, each has a transaction and some round trips
/// of its own, and readers wait for it longer. Appends that change the same row wait for each
/// other until they are committed, and apply in that order, which need not be the order of their
/// positions where their streams are different ones. A projection that refuses an event refuses
/// the append. It can be neither paused nor rebuilt by hand: [`PostgresReadSide::end_inline`] ends
/// it, and one whose version was counted up is built anew when the store is opened.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use annals_core::RowFold;
/// use annals_postgres::{Inline, PostgresReadSide, PostgresStore};
/// use sqlx_postgres::PgPool;
///
/// # async fn open(pool: PgPool, balances: Arc<dyn RowFold>) -> Result<(), Box<dyn std::error::Error>> {
/// // In the log's database.
/// let read_side = PostgresReadSide::options().over(pool.clone()).await?;
/// let store = PostgresStore::options()
///     .inline(Inline::fold(&read_side, balances))
///     .over(pool)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Inline(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Projection(Applier),
    Reactor(Arc<dyn PostgresReactor>),
}

impl Inline {
    /// A projection whose rows are in the read side's table, in the log's database. The
    /// framework's folds upcast events themselves.
    #[must_use]
    pub fn fold(read_side: &PostgresReadSide, fold: Arc<dyn RowFold>) -> Self {
        Self(Kind::Projection(Applier::of_fold(read_side.clone(), fold)))
    }

    /// A projection with tables of its own, in the log's database. Where appends change the same
    /// row, its statements must do with whatever the other one has committed meanwhile, as
    /// `INSERT … ON CONFLICT DO UPDATE` does.
    ///
    /// It gets events as they are stored: no upcaster is applied to them, whereas the framework's
    /// runner, behind the log, hands on what its upcasters make of them. Have it name every type
    /// under which an event may be stored in its query, and read every shape of it: an event that
    /// was renamed since is passed over otherwise.
    #[must_use]
    pub fn projection(read_side: &PostgresReadSide, projection: impl PostgresProjection) -> Self {
        Self(Kind::Projection(Applier::of_tables(read_side.clone(), Arc::new(projection))))
    }

    /// A reactor. It gets events as they are stored.
    #[must_use]
    pub fn reactor(reactor: impl PostgresReactor) -> Self {
        Self(Kind::Reactor(Arc::new(reactor)))
    }

    fn name(&self) -> &SubscriberName {
        match &self.0 {
            Kind::Projection(applier) => applier.name(),
            Kind::Reactor(reactor) => reactor.name(),
        }
    }

    fn query(&self) -> Query {
        match &self.0 {
            Kind::Projection(applier) => applier.query(),
            Kind::Reactor(reactor) => reactor.query(),
        }
    }

    async fn run(
        &self,
        connection: &mut PgConnection,
        events: &[RecordedEvent],
    ) -> Result<(), Stop> {
        match &self.0 {
            Kind::Projection(applier) => applier.apply(connection, None, events).await,
            Kind::Reactor(reactor) => {
                let reacted = caught(reactor.react_to_all(connection, events)).await;
                checked(reacted, connection).await.map_err(Stop::of)
            }
        }
    }
}

/// Code of the application that runs in the transaction of an append, sees what is in it, may
/// write more to the same database, and may refuse it.
///
/// It has the store's [patience](crate::Options::patience), as long as every append.
#[async_trait]
pub trait PostgresReactor: Send + Sync + fmt::Debug + 'static {
    /// Its name, for who is told of its veto.
    fn name(&self) -> &SubscriberName;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// Reacts to an event that was just written on this connection, and is not committed. To end
    /// the transaction is not its business: then nobody knows what became of the append.
    ///
    /// An error of the server should be returned as it is: one for which only the moment is wrong
    /// (a deadlock, a lost connection) is no veto, and the append is tried again.
    ///
    /// # Errors
    /// Its veto: nothing of the append stays.
    async fn react(
        &self,
        connection: &mut PgConnection,
        event: &RecordedEvent,
    ) -> Result<(), BoxError>;
}

impl dyn PostgresReactor {
    async fn react_to_all(
        &self,
        connection: &mut PgConnection,
        events: &[RecordedEvent],
    ) -> Result<(), BoxError> {
        for event in events {
            self.react(connection, event).await?;
        }
        Ok(())
    }
}

/// All that runs in the appends of a store.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// By name, so that all processes take the locks of several in one order.
    hooks: Vec<(Inline, Query)>,
    /// The projections among them, as the log's trigger asks for them.
    called: String,
}

impl Hooks {
    pub(crate) fn new(mut inline: Vec<Inline>) -> Self {
        inline.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        let called: Vec<_> = projections(&inline).map(Applier::called).collect();
        let called = called.join(",");
        let with_query = |inline: Inline| {
            let query = inline.query();
            (inline, query)
        };
        Self { hooks: inline.into_iter().map(with_query).collect(), called }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    fn projections(&self) -> impl Iterator<Item = &Applier> {
        self.hooks.iter().filter_map(|(inline, _)| projection(inline))
    }

    /// Runs all of them over an append that was just written.
    async fn run(
        &self,
        connection: &mut PgConnection,
        append: &Append,
        receipt: &Receipt,
    ) -> Result<(), (SubscriberName, Stop)> {
        let events = recorded(append, receipt);
        for (inline, query) in &self.hooks {
            let concerned: Vec<_> =
                events.iter().filter(|event| query.matches(event)).cloned().collect();
            if !concerned.is_empty() {
                let run = inline.run(connection, &concerned).await;
                run.map_err(|stop| (inline.name().clone(), stop))?;
            }
        }
        Ok(())
    }
}

fn projections(inline: &[Inline]) -> impl Iterator<Item = &Applier> {
    inline.iter().filter_map(projection)
}

fn projection(inline: &Inline) -> Option<&Applier> {
    match &inline.0 {
        Kind::Projection(applier) => Some(applier),
        Kind::Reactor(_) => None,
    }
}

/// The events of an append as they were written.
fn recorded(append: &Append, receipt: &Receipt) -> Vec<RecordedEvent> {
    let mut position = receipt.first_position.get();
    let mut recorded = Vec::with_capacity(append.events().count());
    for part in &append.streams {
        let written = receipt.streams.iter().find(|written| written.stream == part.stream);
        let last = written.map_or(0, |written| written.version.get());
        let first = last - (part.events.len() as u64).min(last) + 1;
        for (event, version) in part.events.iter().zip(first..) {
            recorded.push(as_recorded(part, event, position, version, receipt));
            position += 1;
        }
    }
    recorded
}

fn as_recorded(
    part: &StreamAppend,
    event: &annals_core::NewEvent,
    position: u64,
    version: u64,
    receipt: &Receipt,
) -> RecordedEvent {
    RecordedEvent {
        position: annals_core::Position::new(position),
        stream: part.stream.clone(),
        version: Version::new(version),
        id: event.id,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        tags: Tags::new(&event.tags),
        occurred_at: event.occurred_at.unwrap_or(receipt.recorded_at),
        recorded_at: receipt.recorded_at,
    }
}

/// What a stop of a hook is to the caller of an append that is not tried again.
fn refusal((by, stop): (SubscriberName, Stop)) -> AppendError {
    match stop {
        Stop::Veto(source) => AppendError::Vetoed { by, source },
        Stop::Moment { error, .. } => AppendError::Unavailable(running(&by, error)),
        Stop::Ended(error) => AppendError::Indeterminate(running(&by, error)),
    }
}

fn running(by: &SubscriberName, error: BoxError) -> Fault {
    Fault::because(format!("running {by} in the append's transaction"), error)
}
