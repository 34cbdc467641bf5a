//! Hashing of passwords, a few at a time.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::password::{Password, PasswordDigest};

/// How long a password waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes passwords beside the threads that serve requests, as many at once as the machine has
/// cores: a hash is made to be slow and large, and a crowd of them must not take all there is.
#[derive(Clone, Debug)]
pub struct Hasher {
    turns: Arc<Semaphore>,
    patience: Duration,
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum HashFailure {
    /// Too many others were in front.
    #[error("too many passwords are waiting to be hashed; retry later")]
    Busy,
    /// The system gave no randomness, or the thread died.
    #[error("the password could not be hashed")]
    Broken,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(available_parallelism().map_or(1, |cores| cores.get().min(4)), PATIENCE)
    }
}

impl Hasher {
    /// Hashes so many passwords at once; others wait for so long.
    #[must_use]
    pub fn new(at_once: usize, patience: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), patience }
    }

    /// The digest of a password.
    ///
    /// # Errors
    /// [`HashFailure`].
    pub async fn digest(&self, password: Password) -> Result<PasswordDigest, HashFailure> {
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| HashFailure::Busy)?;
        let digest = spawn_blocking(move || {
            // Kept to the end of the work, also when nobody waits for it any more.
            let _turn = turn;
            password.digest()
        });
        digest.await.ok().and_then(Result::ok).ok_or(HashFailure::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_so() {
        let hasher = Hasher::new(1, Duration::from_millis(1));
        let turn = Arc::clone(&hasher.turns).acquire_owned().await.unwrap();
        let password = || Password::new("secret".to_owned());
        assert_eq!(hasher.digest(password()).await, Err(HashFailure::Busy));
        drop(turn);
        assert!(hasher.digest(password()).await.unwrap().is_of("secret"));
    }
}
