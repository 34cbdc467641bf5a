//! What carries "I have written up to here" from one request to the next.

use std::fmt;
use std::str::FromStr;

use annals_core::{Position, Receipt};

/// What an answer to a write says, and a later read shows again, so that it finds the write.
///
/// Clients keep it as an opaque text: what it holds is nobody's business but that of the log it
/// came from. Send it with every answer to a write in [`HEADER`](Self::HEADER); a read that shows
/// it in the same header waits until the projection has come so far. The
/// HTTP API of `annals serve` does so too.
///
/// ```
/// use annals::{ConsistencyToken, Receipt, RunningProjection, WaitError};
/// use std::time::Duration;
///
/// /// What the handler of a write puts into its answer.
/// fn header_of(receipt: &Receipt) -> (&'static str, String) {
///     (ConsistencyToken::HEADER, ConsistencyToken::of(receipt).to_string())
/// }
///
/// /// What the handler of a read does first, with what the client shows.
/// async fn wait(
///     balances: &RunningProjection,
///     shown: Option<&str>,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     if let Some(shown) = shown {
///         let token: ConsistencyToken = shown.parse()?; // answer 400
///         // On `WaitError::TimedOut` answer 504, or the rows as they are with a word about it.
///         balances.wait_for(token.position(), Duration::from_secs(5)).await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsistencyToken(Position);

impl ConsistencyToken {
    /// The header that holds the token: in the answer to a write, and in a read that shows it.
    pub const HEADER: &'static str = "annals-after";

    /// The header of a read that says how long to wait at most: `500ms`, or `5s`.
    pub const WAIT_HEADER: &'static str = "annals-wait";

    /// The token of a write.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Self {
        Self(receipt.last_position)
    }

    /// The token of everything up to a position.
    #[must_use]
    pub fn up_to(position: Position) -> Self {
        Self(position)
    }

    /// What to [wait for](crate::RunningProjection::wait_for).
    #[must_use]
    pub fn position(self) -> Position {
        self.0
    }
}

/// A text that is no [`ConsistencyToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no consistency token; send the header annals-after as the answer to the write had it"
)]
#[non_exhaustive]
pub struct InvalidToken;

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ConsistencyToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(|number| Self(Position::new(number))).ok_or(InvalidToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        let token = ConsistencyToken::up_to(Position::new(4_096));
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "+1", "-1", " 1", "1 ", "0x10", "1.0", "99999999999999999999", "é"] {
            assert_eq!(text.parse::<ConsistencyToken>(), Err(InvalidToken), "{text}");
        }
    }
}
