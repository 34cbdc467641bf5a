//! How long streams are kept: archived, closed, deleted or truncated, by events of their own.
//!
//! Nothing is ever removed from the log. What is deleted or truncated is not there for whoever
//! loads it, and still there for whoever reads the log or asks for the past.

mod open;

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::error::{AppendError, ReadError};
use annals_core::{
    Append, AppendCondition, EventStoreExt, EventType, ExpectedVersion, InvalidName, NewEvent,
    Receipt, StreamId, Version,
};

use crate::retry::Attempts;
use crate::standing::Marker;
use crate::{Annals, Context, Denied, NotOpen, Standing};

pub(crate) use open::NotAppended;
use open::markers_of;

/// What is done to a stream as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retention {
    /// It is put aside: it takes no more events until it is restored.
    Archive,
    /// It is closed: it never takes another event.
    Close,
    /// It is deleted, softly: whoever loads it is told so, until it is restored.
    Delete,
    /// It is taken back from the archive, or from being deleted.
    Restore,
    /// Events before this version are not folded any more.
    TruncateBefore(Version),
}

/// Who may archive, close, delete, restore and truncate which streams.
///
/// Functions with these arguments are policies.
pub trait RetentionPolicy: Send + Sync {
    /// Whether whoever is in this context may do so.
    ///
    /// # Errors
    /// When not; the reason says who may.
    fn permit(
        &self,
        retention: Retention,
        stream: &StreamId,
        context: &Context,
    ) -> Result<(), Denied>;
}

impl<F> RetentionPolicy for F
where
    F: Fn(Retention, &StreamId, &Context) -> Result<(), Denied> + Send + Sync,
{
    fn permit(
        &self,
        retention: Retention,
        stream: &StreamId,
        context: &Context,
    ) -> Result<(), Denied> {
        self(retention, stream, context)
    }
}

/// The policy of a handle that was given none.
pub(crate) fn nobody(_: Retention, _: &StreamId, _: &Context) -> Result<(), Denied> {
    Err(Denied::because(
        "nobody may archive, close, delete, restore or truncate streams here; say who may with \
         `Annals::with_retention`",
    ))
}

/// Why nothing was done to a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// The append failed, or others kept changing the stream. Its group says what to do.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Whoever asked may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such version to truncate before. Name one that the stream has.
    #[error(
        "stream {stream} has {versions} events, so nothing can be truncated before version \
             {before}; name a version from 2 to {versions}"
    )]
    NoSuchVersion {
        /// The stream.
        stream: StreamId,
        /// How many events it has.
        versions: Version,
        /// The version that was named.
        before: Version,
    },
    /// The stream has no events.
    #[error("stream {0} has no events; there is nothing to keep or to drop")]
    NoStream(StreamId),
    /// The stream is no valid name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stream's standing does not permit it.
    #[error(transparent)]
    Standing(#[from] NotOpen),
}

/// Something that is about to be done to a stream; await it. Made by [`Annals::retain`].
#[must_use = "nothing is done until it is awaited"]
#[derive(Debug)]
pub struct Retain<'a> {
    annals: &'a Annals,
    stream: Result<StreamId, InvalidName>,
    retention: Retention,
    context: Context,
}

impl Annals {
    /// The same, and whoever the policy permits may archive, close, delete, restore and truncate
    /// streams. Without one nobody may.
    #[must_use]
    pub fn with_retention(mut self, policy: impl RetentionPolicy + 'static) -> Self {
        self.retention = std::sync::Arc::new(policy);
        self
    }

    /// Archives, closes, deletes, restores or truncates a stream, by an event in it that says so.
    /// The receipt is `None` when the stream stood so already.
    ///
    /// Everything that this framework appends respects it: commands, batches, decisions and
    /// records. Whoever appends to the [store](Self::store) itself is not held.
    ///
    /// ```
    /// use annals::{Annals, Context, Denied, MemoryStore, Retention, StreamId};
    /// # use annals::Event;
    /// # #[derive(Event)] enum AccountEvent { AccountOpened }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bank = Annals::new(MemoryStore::new()).with_retention(
    ///     |_: Retention, _: &StreamId, context: &Context| {
    ///         Denied::unless(context.who() == Some("auditor"), "only the auditor may do that")
    ///     },
    /// );
    /// bank.record(AccountEvent::AccountOpened).on("account-1").await?;
    ///
    /// bank.retain("account-1", Retention::Close).by("ada").await.unwrap_err();
    /// bank.retain("account-1", Retention::Close).by("auditor").because("it moved").await?;
    ///
    /// let refused = bank.record(AccountEvent::AccountOpened).on("account-1").await.unwrap_err();
    /// assert_eq!(
    ///     refused.to_string(),
    ///     "stream account-1 is closed for ever; record it in another stream",
    /// );
    /// # Ok(()) }
    /// ```
    pub fn retain(&self, stream: impl fmt::Display, retention: Retention) -> Retain<'_> {
        let stream = StreamId::new(stream.to_string());
        Retain { annals: self, stream, retention, context: Context::new() }
    }
}

impl Retain<'_> {
    /// Done by this one.
    pub fn by(mut self, actor: impl fmt::Display) -> Self {
        self.context = self.context.actor(actor);
        self
    }

    /// Done for this reason.
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        self.context = self.context.reason(reason);
        self
    }

    async fn run(self) -> Result<Option<Receipt>, RetentionError> {
        let Self { annals, stream, retention, context } = self;
        let stream = stream?;
        let context = context.within(&Context::current());
        annals.retention.permit(retention, &stream, &context)?;
        let mut attempts = Attempts::first(&annals.retry);
        loop {
            let head = annals.store().head().await?;
            let standing = annals.standing_at(&stream, head).await?;
            let Some(marker) = marker_of(annals, &stream, retention, standing).await? else {
                return Ok(None);
            };
            let (event_type, data) = marker.event();
            let mut event = NewEvent::new(EventType::from_static(event_type), data);
            annals.stamp_event(&mut event, &context);
            let unchanged = AppendCondition::none_match_after(markers_of([&stream]), head);
            let append = Append::to(stream.clone(), ExpectedVersion::StreamExists, [event]);
            match annals.append_certainly(&append.only_if(unchanged), &annals.retry).await {
                Ok(receipt) => return Ok(Some(receipt)),
                Err(AppendError::Conflict(_)) if attempts.next().await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The marker that does it to a stream of this standing; `None` when it stands so already.
async fn marker_of(
    annals: &Annals,
    stream: &StreamId,
    retention: Retention,
    standing: Standing,
) -> Result<Option<Marker>, RetentionError> {
    let versions = annals.store().version_of(stream.clone()).await?;
    if versions == Version::EMPTY {
        return Err(RetentionError::NoStream(stream.clone()));
    }
    let becomes = match retention {
        Retention::Archive => Standing::Archived,
        Retention::Close => Standing::Closed,
        Retention::Delete => Standing::Deleted,
        Retention::Restore => Standing::Open,
        Retention::TruncateBefore(before) => {
            if standing == Standing::Closed {
                return Err(NotOpen { stream: stream.clone(), standing }.into());
            }
            if before <= Version::FIRST || before > versions {
                let stream = stream.clone();
                return Err(RetentionError::NoSuchVersion { stream, versions, before });
            }
            return Ok(Some(Marker::Truncated { before }));
        }
    };
    match (standing, becomes) {
        (standing, becomes) if standing == becomes => Ok(None),
        (Standing::Closed, _) | (Standing::Deleted, Standing::Archived | Standing::Closed) => {
            Err(NotOpen { stream: stream.clone(), standing }.into())
        }
        _ => Ok(Some(Marker::Stands(becomes))),
    }
}

impl<'a> IntoFuture for Retain<'a> {
    type Output = Result<Option<Receipt>, RetentionError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
