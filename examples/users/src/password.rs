//! Passwords, and the only form in which they are kept.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A password as somebody typed it: never shown, never stored, and wiped from memory when it is
/// dropped. (The bytes of the request, which it was parsed from, are freed and not wiped.)
pub struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// How many characters and bytes it has.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.0.chars().count(), self.0.len())
    }

    /// What is stored instead, with a salt of its own. Takes some ten milliseconds and 19 MiB
    /// on purpose, so call it through a [`Hasher`](crate::hashing::Hasher).
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(crate) fn digest(&self) -> Result<PasswordDigest, argon2::password_hash::Error> {
        let digest = Argon2::default().hash_password(self.0.as_bytes())?;
        Ok(PasswordDigest(digest.to_string()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// An argon2id hash as a PHC string, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`. It can be
/// guessed at by whoever has it, so it is stored and not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordDigest(String);

impl PasswordDigest {
    /// A digest as it was stored.
    pub(crate) fn stored(phc: String) -> Self {
        Self(phc)
    }

    /// As it is stored.
    pub(crate) fn as_stored(&self) -> &str {
        &self.0
    }

    /// Whether it is the digest of `password`.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        PasswordHash::new(&self.0).is_ok_and(|digest| {
            Argon2::default().verify_password(password.as_bytes(), &digest).is_ok()
        })
    }
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct horse battery staple";

    #[test]
    fn a_digest_is_argon2id_with_a_salt_of_its_own_and_verifies() {
        let password = Password::new(SECRET.to_owned());
        let (one, other) = (password.digest().unwrap(), password.digest().unwrap());
        assert_ne!(one, other);
        for digest in [one, other] {
            assert!(digest.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
            assert!(digest.is_of(SECRET));
            assert!(!digest.is_of("correct horse battery stable"));
        }
    }

    #[test]
    fn neither_is_shown() {
        let password = Password::new(SECRET.to_owned());
        let digest = password.digest().unwrap();
        assert_eq!(format!("{password:?} {digest:?}"), "Password(…) PasswordDigest(…)");
    }

    #[test]
    fn what_is_no_digest_is_of_no_password() {
        assert!(!PasswordDigest::stored(SECRET.to_owned()).is_of(SECRET));
    }
}
