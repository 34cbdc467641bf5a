//! What runs inside the transaction of an append: projections that are never behind, and reactors
//! that may forbid it.

mod catch_up;
mod session;
mod standing;

use std::fmt;
use std::sync::Arc;

use annals_core::{AppendError, Query, RecordedEvent, RowFold, SubscriberName};
use rusqlite::Connection;

use crate::projection::{BoxError, SqliteProjection};
pub(crate) use catch_up::catch_up;
pub(crate) use session::{Appended, Session};
pub(crate) use standing::OWNER;

/// Something that runs inside the transaction of every append to a
/// [store](crate::Options::inline): its rows and the events are stored together or not at all.
///
/// What it refuses is not appended: the caller gets [`AppendError::Vetoed`], other appends do
/// not notice. A repeat of an append runs nothing again.
///
/// A projection misses nothing and applies nothing twice. It has caught up with the log when the
/// store is open; what other processes append without it, it applies before the next append that
/// runs it. One whose rows were made by another version of its code is built anew when the store is
/// opened, beside the rows that are read meanwhile; a process with the other version goes on
/// without it from then on. One that is [paused](annals_core::SubscriberState::Paused) is left out,
/// and catches up with the first append after it goes on; one that is to be rebuilt by hand refuses.
/// Whoever runs it outside of appends
/// loses its leases.
#[derive(Clone, Debug)]
pub struct Inline(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Projection(Arc<dyn SqliteProjection>),
    Reactor(Arc<dyn SqliteReactor>),
    Rows(Arc<dyn RowFold>),
}

impl Inline {
    /// A projection with tables of its own, in the file of the log.
    ///
    /// It gets events as they are stored: no upcaster is applied to them, whereas the framework's
    /// runner, behind the log, hands on what its upcasters make of them. Have it name every type
    /// under which an event may be stored in its query, and read every shape of it: an event that
    /// was renamed since is passed over otherwise.
    pub fn projection(projection: impl SqliteProjection + 'static) -> Self {
        Self(Kind::Projection(Arc::new(projection)))
    }

    /// A reactor. It gets events as they are stored.
    pub fn reactor(reactor: impl SqliteReactor + 'static) -> Self {
        Self(Kind::Reactor(Arc::new(reactor)))
    }

    /// A projection whose rows are kept in the file of the log, where a
    /// [read side](crate::SqliteReadSide) on that file finds them. The framework's folds upcast
    /// events themselves.
    #[must_use]
    pub fn rows(fold: Arc<dyn RowFold>) -> Self {
        Self(Kind::Rows(fold))
    }
}

/// Code that runs because an event is being appended, in the same transaction.
///
/// It sees the event in the log, and all that the transaction has written before. It runs for
/// what is appended through a store that has it, and for nothing else: what the log holds already,
/// or others append, never comes to it.
///
/// ```
/// use annals_core::{
///     AppendError, Data, EventStoreExt, EventType, ExpectedVersion, NewEvent, Query, QueryItem,
///     RecordedEvent, StreamId, SubscriberName,
/// };
/// use annals_sqlite::{Inline, SqliteReactor, SqliteStore};
/// use rusqlite::Connection;
///
/// /// A name may be taken once: the table's primary key sees to it.
/// #[derive(Debug)]
/// struct UniqueNames(SubscriberName);
///
/// impl SqliteReactor for UniqueNames {
///     fn name(&self) -> &SubscriberName {
///         &self.0
///     }
///
///     fn query(&self) -> Query {
///         Query::of(QueryItem::new().event_type(EventType::from_static("UserNamed")))
///     }
///
///     fn react(
///         &self,
///         transaction: &Connection,
///         event: &RecordedEvent,
///     ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         let name = std::str::from_utf8(&event.data.bytes)?;
///         transaction.execute("INSERT INTO names VALUES (?1)", [name])?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("app.db");
/// Connection::open(&path)?.execute("CREATE TABLE names (name TEXT PRIMARY KEY)", [])?;
/// let names = UniqueNames("unique-names".parse()?);
/// let store = SqliteStore::options().inline(Inline::reactor(names)).open(&path)?;
///
/// let named = || NewEvent::new(EventType::from_static("UserNamed"), Data::json(r#""Ada""#));
/// let user = |user| StreamId::of("user", user);
/// store.append_to(user(1)?, ExpectedVersion::NoStream, [named()]).await?;
/// let second = store.append_to(user(2)?, ExpectedVersion::NoStream, [named()]).await;
/// assert!(matches!(second, Err(AppendError::Vetoed { .. })));
/// # Ok(()) }
/// ```
pub trait SqliteReactor: Send + Sync + fmt::Debug {
    /// Its name, which whoever is refused gets to hear.
    fn name(&self) -> &SubscriberName;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// Reacts to an event that is being appended.
    ///
    /// It must not end the transaction; savepoints that it begins it must end. When it panics,
    /// that is an error.
    ///
    /// # Errors
    /// When the event must not be appended: nothing is written then.
    fn react(&self, transaction: &Connection, event: &RecordedEvent) -> Result<(), BoxError>;
}

/// What runs inside the appends to a store, in this order.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    hooks: Arc<[Hook]>,
    limits: annals_core::Limits,
}

#[derive(Debug)]
struct Hook {
    kind: Kind,
    name: SubscriberName,
    query: Query,
}

impl Hooks {
    /// `None` when there are none, so that appends pay nothing for them.
    pub(crate) fn new(inline: &[Inline], limits: &annals_core::Limits) -> Option<Self> {
        let hook = |Inline(kind): &Inline| {
            let (name, query) = match kind {
                Kind::Projection(projection) => (projection.name().clone(), projection.query()),
                Kind::Reactor(reactor) => (reactor.name().clone(), reactor.query()),
                Kind::Rows(fold) => (fold.name().clone(), fold.query()),
            };
            Hook { kind: kind.clone(), name, query }
        };
        let hooks: Arc<[Hook]> = inline.iter().map(hook).collect();
        (!hooks.is_empty()).then(|| Self { hooks, limits: limits.clone() })
    }
}

/// Who does not allow something, and why.
#[derive(Debug)]
pub(crate) struct Veto {
    pub(crate) by: SubscriberName,
    pub(crate) source: BoxError,
}

impl From<Veto> for AppendError {
    fn from(veto: Veto) -> Self {
        Self::Vetoed { by: veto.by, source: veto.source }
    }
}
