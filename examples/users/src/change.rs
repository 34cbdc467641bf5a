//! A change of a user, from what is asked to what is written: everything about it that needs no
//! database.

use annals::{Append, EncodeError, Event, ExpectedVersion, Metadata, Timestamp};

use crate::parameters::FieldError;
use crate::password::PasswordDigest;
use crate::user::{Happened, User, UserEvent, UserId, apply};

/// What may be asked of a user. It is validated already.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "deciding knows every command")]
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub enum Command {
    Create { name: String, email: String, password_digest: PasswordDigest },
    Destroy,
}

/// A command: to whom, when, and how it came about.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub struct Change {
    pub user: UserId,
    pub at: Timestamp,
    pub metadata: Metadata,
    pub command: Command,
}

/// Why a command is refused, in words for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum Refusal {
    /// There is no such user.
    #[error("there is no user {0}; GET /users lists those there are")]
    NotFound(UserId),
    /// Somebody else has the e-mail address.
    #[error("the e-mail address belongs to another user; choose another one")]
    EmailTaken,
    /// A reactor was against it.
    #[error("{}", .0.message)]
    Vetoed(FieldError),
}

/// What a change comes to.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever carries it out does one or the other")]
pub enum Outcome {
    /// Nothing happens, and nothing is recorded: the row is as it was asked to be.
    Nothing(User),
    /// Something happens.
    Step(Box<Step>),
}

/// What is written in one transaction: the event, the row it makes, the append that records it.
#[derive(Debug)]
#[expect(missing_docs, reason = "said above")]
pub struct Step {
    pub happened: Happened,
    pub row: User,
    pub append: Append,
}

/// A change that has been carried out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Changed {
    /// The row as it is now.
    pub user: User,
    /// Whether anything happened.
    pub happened: bool,
}

impl Change {
    /// Decides on the row as it is, which nobody else may change meanwhile.
    ///
    /// # Errors
    /// A [`Refusal`], or that the event cannot be encoded.
    pub fn on(self, row: Option<User>) -> Result<Outcome, NotDecided> {
        let Self { user, at, metadata, command } = self;
        let Some(event) = decide(command, user, row.as_ref())? else {
            return Ok(Outcome::Nothing(row.ok_or(Refusal::NotFound(user))?));
        };
        let expected = match &row {
            Some(row) => ExpectedVersion::Exact(row.version),
            None => ExpectedVersion::NoStream,
        };
        let recorded = event.encode()?.with_metadata(metadata).occurred_at(at);
        let append = Append::to(user.stream(), expected, [recorded]);
        let happened = Happened { user, at, event };
        let row = apply(row, &happened).ok_or(Refusal::NotFound(user))?;
        Ok(Outcome::Step(Box::new(Step { happened, row, append })))
    }
}

/// What happens because of a command; nothing, when the row is as asked.
fn decide(command: Command, id: UserId, row: Option<&User>) -> Result<Option<UserEvent>, Refusal> {
    match (command, row) {
        (Command::Create { name, email, password_digest }, None) => {
            Ok(Some(UserEvent::UserCreated { name, email, password_digest }))
        }
        // The id is the caller's, and so this is the same creation once more.
        (Command::Create { .. }, Some(_)) => Ok(None),
        (Command::Destroy, None) => Err(Refusal::NotFound(id)),
        (Command::Destroy, Some(row)) if row.deleted => Ok(None),
        (Command::Destroy, Some(_)) => Ok(Some(UserEvent::UserDestroyed { id })),
    }
}

/// Why there is nothing to carry out.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum NotDecided {
    /// The command is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The event cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
