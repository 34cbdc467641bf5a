//! Moments, as UTC microseconds (S9).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Written and read as RFC 3339; serialised as that text.
///
/// ```
/// use annals_core::Timestamp;
///
/// let noon: Timestamp = "2026-03-01T13:00:00.25+01:00".parse()?;
/// assert_eq!(noon.to_string(), "2026-03-01T12:00:00.25Z");
/// # Ok::<(), annals_core::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be written: RFC 3339 and most databases begin with the year 1.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The latest moment that can be written, in the year 9999.
    pub const MAX: Self = Self(253_402_207_200_999_999);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `micros` microseconds after the epoch, held to [`MIN`](Self::MIN)..=[`MAX`](Self::MAX).
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment `duration` later, or [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Self::from_micros(micros)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `from_microsecond`, which refuses the last second that jiff can hold.
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let nanos = i32::try_from(micros * 1_000).expect("less than a second is an i32 of them");
        let moment = jiff::Timestamp::new(seconds, nanos)
            .expect("a Timestamp lies between MIN and MAX, which jiff can hold");
        fmt::Display::fmt(&moment, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(InvalidTimestamp)?;
        Ok(Self::from_micros(moment.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: InvalidTimestamp| {
            serde::de::Error::custom(format!("{error}: {}", error.0))
        })
    }
}

/// Text that is not a moment.
#[derive(Debug, thiserror::Error)]
#[error("not an RFC 3339 timestamp; write it like 2026-03-01T12:00:00Z")]
pub struct InvalidTimestamp(#[source] jiff::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_jiffs_own() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.0, jiff::Timestamp::MAX.as_microsecond());
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
        assert!(!Timestamp::from_micros(i64::MIN).to_string().is_empty());
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.999999Z");
        assert_eq!(Timestamp::MAX.to_string().parse::<Timestamp>().unwrap(), Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(-1).to_string(), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn microseconds_survive_text() {
        let moment = Timestamp::from_micros(1_772_366_400_123_456);
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
    }

    #[test]
    fn system_time_before_the_epoch_is_negative() {
        let before = UNIX_EPOCH - Duration::from_micros(5);
        assert_eq!(Timestamp::from(before).as_micros(), -5);
    }
}
