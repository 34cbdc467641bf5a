//! Amounts as people write them: `12.50`.

use std::fmt;
use std::str::FromStr;

/// An amount in cents, written with two decimals.
///
/// ```
/// use bank::cents::Cents;
///
/// assert_eq!("12.5".parse(), Ok(Cents(1250)));
/// assert_eq!(Cents(1205).to_string(), "12.05");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cents(pub u64);

/// A text that is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an amount like 100 or 12.50, up to {}", Cents(u64::MAX))]
pub struct InvalidAmount;

impl FromStr for Cents {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let cents = match decimals.len() {
            1 => digits(decimals)?.checked_mul(10),
            2 => Some(digits(decimals)?),
            _ => None,
        };
        digits(whole)?
            .checked_mul(100)
            .and_then(|whole| whole.checked_add(cents?))
            .map(Self)
            .ok_or(InvalidAmount)
    }
}

/// A number written in digits alone: `parse` would also take a sign.
fn digits(text: &str) -> Result<u64, InvalidAmount> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidAmount);
    }
    text.parse().map_err(|_| InvalidAmount)
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(true, "", &format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}
