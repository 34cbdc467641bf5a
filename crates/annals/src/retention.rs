//! How long streams are kept: archived, closed, deleted or truncated, by events of their own.
//!
//! Nothing is ever removed from the log. What is deleted or truncated is not there for whoever
//! loads it, and still there for whoever reads the log or asks for the past.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::{
    Append, AppendCondition, EventStoreExt, EventType, ExpectedVersion, InvalidName, NewEvent,
    Position, Query, Read, Receipt, StreamId, Version,
};
use futures_util::TryStreamExt;

use crate::error::{ExecuteError, LoadError};
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, done_in, how_methods};
use crate::execute::open::{marker_tag, markers};
use crate::standing::{MARKERS, Marker};
use crate::{Annals, Context, Denied, NotOpen, Standing};

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

/// Why a stream cannot be kept or dropped so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionRefusal {
    /// There is no such version to truncate before. Name one that the stream has.
    #[error(
        "nothing of stream {stream} can be truncated before version {before}; name a version from \
         2 to its last, which is {last}"
    )]
    NoSuchVersion {
        /// The stream.
        stream: StreamId,
        /// The version of its last event.
        last: Version,
        /// The version that was named.
        before: Version,
    },
    /// The stream has no events.
    #[error("stream {0} has no events; there is nothing to keep or to drop")]
    NoStream(StreamId),
    /// The stream is closed, and that is for ever, or deleted, and must be restored first.
    #[error(transparent)]
    Standing(NotOpen),
}

/// Why nothing was done to a stream.
pub type RetentionError = ExecuteError<RetentionRefusal>;

/// Something that is about to be done to a stream; await it. Made by [`Annals::retain`].
#[must_use = "nothing is done until it is awaited"]
#[derive(Debug)]
pub struct Retain<'a> {
    annals: &'a Annals,
    stream: Result<StreamId, InvalidName>,
    retention: Retention,
    how: How,
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
        Retain { annals: self, stream, retention, how: How::default() }
    }
}

impl Retain<'_> {
    how_methods!();

    async fn run(self) -> Result<Option<Receipt>, RetentionError> {
        let Self { annals, stream, retention, how } = self;
        let stream = stream?;
        annals.retention.permit(retention, &stream, &Context::current())?;
        let mut deciding = OnStream { annals, stream, retention };
        Ok(match annals.attempt(&how, &mut deciding).await? {
            Outcome::Nothing => None,
            Outcome::Appended(receipt, _) | Outcome::Repeated(receipt, _) => Some(receipt),
        })
    }
}

/// Something that is done to a stream, being decided.
struct OnStream<'a> {
    annals: &'a Annals,
    stream: StreamId,
    retention: Retention,
}

/// What the markers of a stream say.
#[derive(Default)]
struct Marked {
    standing: Standing,
    truncated: Version,
    /// Where the last of them stands.
    position: Position,
}

impl Deciding for OnStream<'_> {
    type Refusal = RetentionRefusal;
    const BLIND: bool = false;
    const OURS: bool = true;

    fn what(&self) -> String {
        format!("{:?} {}", self.retention, self.stream)
    }

    async fn decide(&mut self) -> Result<Append, RetentionError> {
        let last = self.annals.store().version_of(self.stream.clone()).await;
        let last = last.map_err(LoadError::from)?;
        let all = markers(&[&self.stream], &MARKERS);
        let marked = self.marked(&all).await?;
        let marker = self.marker(last, &marked).map_err(ExecuteError::Refused)?;
        let Some(marker) = marker else { return Ok(Append::default()) };
        let (event_type, data) = marker.event();
        let event = NewEvent::new(EventType::from_static(event_type), data);
        let event = event.tagged(marker_tag(&self.stream));
        let unchanged = AppendCondition::none_match_after(all, marked.position);
        let append = Append::to(self.stream.clone(), ExpectedVersion::StreamExists, [event]);
        Ok(append.only_if(unchanged))
    }
}

impl OnStream<'_> {
    async fn marked(&self, all: &Query) -> Result<Marked, LoadError> {
        let mut marked = Marked::default();
        let mut markers = self.annals.store().read(Read::query(all.clone()));
        while let Some(stored) = markers.try_next().await? {
            match Marker::of(&stored)? {
                Some(Marker::Stands(standing)) => marked.standing = standing,
                Some(Marker::Truncated { before }) => {
                    marked.truncated = marked.truncated.max(before);
                }
                None => {}
            }
            marked.position = stored.position;
        }
        Ok(marked)
    }

    /// The marker that does it; `None` when the stream stands so already.
    fn marker(&self, last: Version, marked: &Marked) -> Result<Option<Marker>, RetentionRefusal> {
        let stream = || self.stream.clone();
        if last == Version::EMPTY {
            return Err(RetentionRefusal::NoStream(stream()));
        }
        let standing = marked.standing;
        let not_open = || RetentionRefusal::Standing(NotOpen { stream: stream(), standing });
        let becomes = match self.retention {
            Retention::Archive => Standing::Archived,
            Retention::Close => Standing::Closed,
            Retention::Delete => Standing::Deleted,
            Retention::Restore => Standing::Open,
            Retention::TruncateBefore(before) => {
                return match before {
                    _ if standing == Standing::Closed => Err(not_open()),
                    before if before <= Version::FIRST || before > last => {
                        Err(RetentionRefusal::NoSuchVersion { stream: stream(), last, before })
                    }
                    before if before <= marked.truncated => Ok(None),
                    before => Ok(Some(Marker::Truncated { before })),
                };
            }
        };
        match (standing, becomes) {
            (standing, becomes) if standing == becomes => Ok(None),
            (Standing::Closed, _) | (Standing::Deleted, Standing::Archived | Standing::Closed) => {
                Err(not_open())
            }
            _ => Ok(Some(Marker::Stands(becomes))),
        }
    }
}

impl<'a> IntoFuture for Retain<'a> {
    type Output = Result<Option<Receipt>, RetentionError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let context = self.how.context.take();
        done_in(context, self.run())
    }
}
