//! When somebody may not do what they ask for.

/// Whoever asked may not do this.
///
/// ```
/// use annals::Denied;
///
/// let denied = Denied::unless(false, "only the owner may withdraw").unwrap_err();
/// assert_eq!(denied.to_string(), "only the owner may withdraw");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(String);

impl Denied {
    /// Not allowed, for this reason, which says who may.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// `Ok` when it is allowed.
    ///
    /// # Errors
    /// Itself, when it is not.
    pub fn unless(allowed: bool, reason: &str) -> Result<(), Self> {
        if allowed { Ok(()) } else { Err(Self::because(reason)) }
    }
}
