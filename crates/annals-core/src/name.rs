//! The names an event carries: stream, category, type, tag; and the name of a fold.
//!
//! All are short texts that are checked once, when made, and compared byte by byte: names that
//! only look alike are different names.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that cannot be the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {fault}")]
pub struct InvalidName {
    /// Which name: "stream id", "event type", "tag" …
    pub kind: &'static str,
    /// What is wrong with it.
    pub fault: NameFault,
}

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// It holds a control character, a NUL for example.
    #[error("contains the control character {0:?}; remove it")]
    ControlCharacter(char),
    /// It holds a character that such a name cannot hold.
    #[error("contains {0:?}; use only letters a to z and A to Z, digits, `_`, `.` and `-`")]
    ForbiddenCharacter(char),
    /// It has no characters.
    #[error("is empty; give it at least one character")]
    Empty,
    /// It is a stream id that starts with `-`.
    #[error("has no category; write it as category-id, like account-42")]
    NoCategory,
    /// It is a category that contains `-`.
    #[error("contains `-`, which ends a category; leave the id out")]
    NotACategory,
    /// It is a tag without `:`.
    #[error("has no `:` between key and value; write it as key:value, like order:42")]
    NotKeyValue,
    /// It starts or ends with white space.
    #[error("starts or ends with white space; trim it")]
    Padded,
    /// It has too many bytes.
    #[error("has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The most it may have.
        bytes_max: usize,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $bytes_max:literal, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes it may have, as UTF-8.
            pub const BYTES_MAX: usize = $bytes_max;

            /// Checks `text` and makes it a name.
            ///
            /// # Errors
            /// When it is empty, longer than [`BYTES_MAX`](Self::BYTES_MAX), padded with white
            /// space, holds a control character or lacks the form described above.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidName> {
                let text = text.into();
                check(&text, $bytes_max)
                    .and_then(|()| $extra(&*text))
                    .map_err(|fault| InvalidName { kind: $kind, fault })?;
                Ok(Self(text))
            }

            /// A name written in the program itself.
            ///
            /// # Panics
            /// When `text` is not a valid name: a mistake in the program.
            #[must_use]
            pub fn from_static(text: &'static str) -> Self {
                Self::new(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
            }

            /// A name read back from a store, which checked it when it was appended.
            #[must_use]
            pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a stream: `category-id`, like `account-ACC_123`.
    ///
    /// The category is what stands before the first `-`; a name without `-` is its own category.
    ///
    /// ```
    /// use annals_core::StreamId;
    ///
    /// let stream: StreamId = "account-ACC-123".parse()?;
    /// assert_eq!(stream.category().as_str(), "account");
    /// assert_eq!(stream.id(), "ACC-123");
    /// # Ok::<(), annals_core::InvalidName>(())
    /// ```
    StreamId,
    "stream id",
    512,
    starts_with_category
);

name!(
    /// The first part of a stream id, shared by all streams of one kind.
    Category,
    "category",
    512,
    has_no_dash
);

name!(
    /// What happened, in the past tense: `MoneyDeposited`.
    EventType,
    "event type",
    256,
    |_: &str| Ok(())
);

name!(
    /// `key:value`: an index over events across streams, like `course:c1`.
    ///
    /// ```
    /// use annals_core::Tag;
    ///
    /// let tag = Tag::of("url", "https://example.org")?;
    /// assert_eq!((tag.key(), tag.value()), ("url", "https://example.org"));
    /// # Ok::<(), annals_core::InvalidName>(())
    /// ```
    Tag,
    "tag",
    512,
    has_key_and_value
);

name!(
    /// Which code made a fold: snapshots of another fold are never loaded.
    ///
    /// Letters a to z and A to Z, digits, `_`, `.` and `-`. Whoever folds chooses it, and chooses
    /// another whenever the same events come to another state.
    ///
    /// ```
    /// use annals_core::Fingerprint;
    ///
    /// let fold: Fingerprint = "account.v7".parse()?;
    /// assert!(Fingerprint::new("account v7").is_err());
    /// # Ok::<(), annals_core::InvalidName>(())
    /// ```
    Fingerprint,
    "fingerprint",
    64,
    is_plain
);

name!(
    /// The name of whoever keeps a checkpoint: a projection, or an inbox.
    ///
    /// Letters a to z and A to Z, digits, `_`, `.` and `-`, like `balances` or `email`.
    ///
    /// ```
    /// use annals_core::SubscriberName;
    ///
    /// let balances: SubscriberName = "balances".parse()?;
    /// assert!(SubscriberName::new("account balances").is_err());
    /// # Ok::<(), annals_core::InvalidName>(())
    /// ```
    SubscriberName,
    "subscriber name",
    64,
    is_plain
);

impl StreamId {
    /// The stream of one thing: `category`, a dash, `id`.
    ///
    /// # Errors
    /// When the whole is not a valid stream id, or `category` not a valid category.
    pub fn of(category: &str, id: impl fmt::Display) -> Result<Self, InvalidName> {
        Category::new(category)?;
        Self::new(format!("{category}-{id}"))
    }

    /// What stands before the first `-`, or the whole name when there is none.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::from_stored(self.split().0)
    }

    /// What stands behind the first `-`; empty when there is none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('-').unwrap_or((&self.0, ""))
    }
}

impl Tag {
    /// The tag `key:value`.
    ///
    /// # Errors
    /// When the whole is not a valid tag; a `:` in `key` would move the border and is refused
    /// by being read as part of the value, so keep keys free of it.
    pub fn of(key: &str, value: impl fmt::Display) -> Result<Self, InvalidName> {
        Self::new(format!("{key}:{value}"))
    }

    /// What stands before the first `:`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(key, _)| key)
    }

    /// What stands behind the first `:`.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }
}

fn check(text: &str, bytes_max: usize) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    if text.len() > bytes_max {
        return Err(NameFault::TooLong { bytes: text.len(), bytes_max });
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(NameFault::ControlCharacter(control));
    }
    if text.trim().len() != text.len() {
        return Err(NameFault::Padded);
    }
    Ok(())
}

fn starts_with_category(text: &str) -> Result<(), NameFault> {
    if text.starts_with('-') { Err(NameFault::NoCategory) } else { Ok(()) }
}

fn has_no_dash(text: &str) -> Result<(), NameFault> {
    if text.contains('-') { Err(NameFault::NotACategory) } else { Ok(()) }
}

fn has_key_and_value(text: &str) -> Result<(), NameFault> {
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(()),
        _ => Err(NameFault::NotKeyValue),
    }
}

fn is_plain(text: &str) -> Result<(), NameFault> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match text.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(forbidden) => Err(NameFault::ForbiddenCharacter(forbidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(result: Result<impl fmt::Debug, InvalidName>) -> NameFault {
        result.unwrap_err().fault
    }

    #[test]
    fn every_fault_is_found() {
        assert_eq!(fault(StreamId::new("")), NameFault::Empty);
        assert_eq!(fault(StreamId::new("-1")), NameFault::NoCategory);
        assert_eq!(fault(StreamId::new("a\0b")), NameFault::ControlCharacter('\0'));
        assert_eq!(fault(StreamId::new(" a")), NameFault::Padded);
        assert_eq!(fault(Category::new("a-b")), NameFault::NotACategory);
        assert_eq!(fault(Tag::new("plain")), NameFault::NotKeyValue);
        assert_eq!(fault(Tag::new(":value")), NameFault::NotKeyValue);
        assert_eq!(
            fault(EventType::new("x".repeat(257))),
            NameFault::TooLong { bytes: 257, bytes_max: 256 }
        );
        assert!(EventType::new("x".repeat(256)).is_ok());
        assert_eq!(fault(Fingerprint::new("")), NameFault::Empty);
        assert_eq!(fault(Fingerprint::new("a/b")), NameFault::ForbiddenCharacter('/'));
        assert_eq!(fault(Fingerprint::new("\u{e9}")), NameFault::ForbiddenCharacter('\u{e9}'));
        assert_eq!(
            fault(Fingerprint::new("x".repeat(65))),
            NameFault::TooLong { bytes: 65, bytes_max: 64 }
        );
        assert!(Fingerprint::new("Account_2.v7-".repeat(4)).is_ok());
    }

    #[test]
    fn look_alikes_are_different_names() {
        let composed = StreamId::new("caf\u{e9}-1").unwrap();
        let decomposed = StreamId::new("cafe\u{301}-1").unwrap();
        assert_ne!(composed, decomposed);
    }

    #[test]
    fn a_stream_without_a_dash_is_its_own_category() {
        let stream = StreamId::from_static("settings");
        assert_eq!(stream.category().as_str(), "settings");
        assert_eq!(stream.id(), "");
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = Tag::new("plain").unwrap_err();
        assert_eq!(
            error.to_string(),
            "tag has no `:` between key and value; write it as key:value, like order:42"
        );
    }
}
