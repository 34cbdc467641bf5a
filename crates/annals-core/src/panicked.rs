//! Foreign code that panics, as an error like others.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// Foreign code has panicked, and this is what it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {said}")]
#[non_exhaustive]
pub struct Panicked {
    /// What it said.
    pub said: String,
}

impl Panicked {
    /// Runs foreign code, whose panic ends here.
    ///
    /// Whoever calls this throws away what the code has left half done.
    ///
    /// # Errors
    /// When it has panicked.
    pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Self> {
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| Self::with(&*panic))
    }

    /// Awaits foreign code, whose panic ends here.
    ///
    /// # Errors
    /// When it has panicked.
    pub async fn catch_in<F: Future>(run: F) -> Result<F::Output, Self> {
        let caught = AssertUnwindSafe(run).catch_unwind().await;
        caught.map_err(|panic| Self::with(&*panic))
    }

    /// With what a panic carries that was caught elsewhere.
    #[must_use]
    pub fn with(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Self { said: text.unwrap_or("something that is no text").to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_kept_whatever_it_was_said_with() {
        let said = |run: fn()| Panicked::catch(run).unwrap_err().said;
        assert_eq!(said(|| panic!("as it stands")), "as it stands");
        assert_eq!(said(|| panic!("with {}", "a value")), "with a value");
        assert_eq!(said(|| std::panic::panic_any(7)), "something that is no text");
        assert_eq!(Panicked::catch(|| 7), Ok(7));
    }

    #[tokio::test]
    async fn a_future_is_caught_as_well() {
        let panicked = Panicked::catch_in(async { panic!("in a future") }).await;
        assert_eq!(panicked.map(|()| 7).unwrap_err().to_string(), "it panicked: in a future");
        assert_eq!(Panicked::catch_in(async { 7 }).await, Ok(7));
    }
}
