//! The port to the users: what a database does for them, whichever it is.

use std::error::Error;
use std::fmt;

use annals::{AppendError, DecodeError, Event, EventStore, Read, ReadError, RecordedEvent};
use async_trait::async_trait;
use futures_util::TryStreamExt;

use crate::change::{Change, Changed, NotDecided, Refusal};
use crate::user::{Happened, User, UserEvent, UserId};

/// The most events of a user that are shown.
const HISTORY_EVENTS_MAX: u64 = 1_000;

/// The users, in a database.
#[async_trait]
pub trait Users: fmt::Debug + Send + Sync {
    /// Carries out a change: the user's row, its event and what the reactors write are committed
    /// in one transaction, or nothing is.
    ///
    /// # Errors
    /// [`Failure`]. Nothing is written, except perhaps after [`Failure::Unknown`].
    async fn change(&self, change: Change) -> Result<Changed, Failure>;

    /// At most so many users that are not deleted, in the order of their ids, after the id.
    ///
    /// # Errors
    /// When the table cannot be read.
    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Failure>;

    /// The log with the users' events.
    fn log(&self) -> &dyn EventStore;

    /// Waits for what is under way, and closes the database.
    async fn close(&self);
}

/// An event of a user, and how it is recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Past {
    /// What happened.
    pub happened: Happened,
    /// How it is recorded.
    pub recorded: RecordedEvent,
}

/// What happened to a user, oldest first.
///
/// # Errors
/// When the log cannot be read, or when nothing ever happened to the user.
pub async fn history(users: &dyn Users, user: UserId) -> Result<Vec<Past>, Failure> {
    let read = Read::stream(user.stream()).limit(HISTORY_EVENTS_MAX);
    let recorded: Vec<RecordedEvent> = users.log().read(read).try_collect().await?;
    if recorded.is_empty() {
        return Err(Refusal::NotFound(user).into());
    }
    let mut past = Vec::new();
    for recorded in recorded {
        for event in UserEvent::decode(&recorded)? {
            let happened = Happened { user, at: recorded.occurred_at, event };
            past.push(Past { happened, recorded: recorded.clone() });
        }
    }
    Ok(past)
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum Failure {
    /// It is refused. Ask for something else.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database cannot do it now; nothing was written. Retry later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Whether it was committed is not known. Look.
    #[error("whether the change was committed is not known")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
    /// What must not happen has happened; nothing was written.
    #[error("the request failed")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

impl From<NotDecided> for Failure {
    fn from(not: NotDecided) -> Self {
        match not {
            NotDecided::Refused(refusal) => Self::Refused(refusal),
            NotDecided::Encode(error) => Self::Broken(error.into()),
        }
    }
}

/// Of an append inside a transaction, which is rolled back whatever became of the append.
impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Closed | AppendError::Indeterminate(_) | AppendError::Unavailable(_) => {
                Self::Unavailable(error.into())
            }
            // A conflict too: the row is locked and knows its version, so somebody else has
            // written to the stream and not to the row.
            error => Self::Broken(error.into()),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed | ReadError::Unavailable(_) => Self::Unavailable(error.into()),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Broken(error.into())
    }
}
