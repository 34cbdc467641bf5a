//! What things may be called.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::ValidationError;

const BYTES_MAX: usize = 40;

/// What an item is ordered by.
///
/// Any text, until a command's rules have seen it: they tell everything that is wrong at once,
/// and so they must see it all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sku(String);

impl<T: Into<String>> From<T> for Sku {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl AsRef<str> for Sku {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether items, users and customers may be called so.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// The rule for a field that names something.
///
/// # Errors
/// When it breaks the rule.
pub fn plain(name: impl AsRef<str>) -> Result<(), ValidationError> {
    let message = "must be 1 to 40 letters a to z and A to Z, digits, `-`, `_` or `.`";
    let broken = || ValidationError::new("name").with_message(message.into());
    is_plain(name.as_ref()).then_some(()).ok_or_else(broken)
}
