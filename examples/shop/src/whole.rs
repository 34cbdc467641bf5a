//! Numbers as people send them.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Number;

/// Reads a whole number, and takes one that is too small or too large for the type for the
/// nearest that is not.
///
/// So a number that is out of range is told by the rule of its field, together with everything
/// else that is wrong, instead of ending the reading. Only for fields with such a rule, which
/// neither 0 nor the largest number passes.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let nearest = match (number.as_u64(), number.as_f64()) {
        (Some(whole), _) => Some(whole),
        (None, Some(negative)) if negative < 0.0 => Some(0),
        (None, Some(huge)) if huge >= 1e19 => Some(u64::MAX),
        _ => None,
    };
    nearest.ok_or_else(|| D::Error::custom("must be a whole number, without a fraction"))
}
