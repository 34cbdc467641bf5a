//! A user: what can happen to one, and the row that it adds up to.

use std::fmt;
use std::str::FromStr;

use annals::{Event, EventId, StreamId, Timestamp, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::UserEvent::{UserCreated, UserDestroyed};
use crate::password::PasswordDigest;

/// What users' streams are named with.
pub const CATEGORY: &str = "user";

/// What can happen to a user.
#[derive(Clone, Debug, PartialEq, Event)]
#[expect(clippy::exhaustive_enums, reason = "the calculator knows every event")]
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub enum UserEvent {
    UserCreated { name: String, email: String, password_digest: PasswordDigest },
    UserDestroyed { id: UserId },
}

/// An event, and what its data leaves to the log: to whom, and when.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub struct Happened {
    pub user: UserId,
    pub at: Timestamp,
    pub event: UserEvent,
}

/// A row of the table `users`. It has no `Serialize`, so that no digest gets into an answer by
/// accident.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns explain themselves")]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub password_digest: PasswordDigest,
    pub deleted: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The version of the last event that is in the row.
    pub version: Version,
}

/// The calculator: the one place where a row changes.
///
/// It is total and pure. Whatever was recorded gives a row, and the same events give the same
/// row at any time, on any database.
#[must_use]
pub fn apply(row: Option<User>, happened: &Happened) -> Option<User> {
    match (row, &happened.event) {
        (None, UserCreated { name, email, password_digest }) => Some(User {
            id: happened.user,
            name: name.clone(),
            email: email.clone(),
            password_digest: password_digest.clone(),
            deleted: false,
            created_at: happened.at,
            updated_at: happened.at,
            version: Version::FIRST,
        }),
        (Some(row), UserDestroyed { .. }) => Some(User {
            deleted: true,
            updated_at: happened.at,
            version: row.version.next(),
            ..row
        }),
        // Neither is ever recorded: a user is created once, and destroyed after that.
        (Some(row), UserCreated { .. }) => Some(row),
        (None, UserDestroyed { .. }) => None,
    }
}

/// Who a user is: a UUID that grows with time, so that users are listed as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(EventId);

impl UserId {
    /// The id of a user that is about to be created.
    #[must_use]
    pub fn generate() -> Self {
        Self(EventId::generate())
    }

    /// The stream of the user's events, like `user-019a…`.
    #[must_use]
    pub fn stream(self) -> StreamId {
        StreamId::of(CATEGORY, self).expect("a UUID after a short word is a valid name")
    }
}

impl From<UserId> for Uuid {
    fn from(id: UserId) -> Self {
        id.0.into()
    }
}

impl From<Uuid> for UserId {
    fn from(id: Uuid) -> Self {
        Self(id.into())
    }
}

impl FromStr for UserId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The domain of a valid e-mail address, in lower case.
#[must_use]
pub fn domain(email: &str) -> String {
    email.rsplit('@').next().unwrap_or_default().to_ascii_lowercase()
}
