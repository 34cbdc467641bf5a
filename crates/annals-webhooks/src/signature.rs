//! Signatures by the convention of Standard Webhooks, for senders and receivers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use annals::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// The header with the id of the message, the same whenever it is sent again.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the moment of sending, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, one for each valid secret, with spaces between them.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;
const GENERATED_BYTES: usize = 32;

/// What a sender and a receiver share: `whsec_` and 24 to 64 bytes in base64.
///
/// It never shows itself: not in `Debug`, and there is no `Display`. It leaves the memory with the
/// last of its owners.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A new one, of 32 random bytes.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_BYTES]);
        // What nobody may foretell comes from the system and from nowhere else.
        rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The text by which receivers know it: `whsec_…`. Show it to its owner, once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    fn authenticate(&self, id: &str, seconds: i64, body: &[u8]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidSecret::Base64)?;
        let bytes = Zeroizing::new(bytes);
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(InvalidSecret::Length { actual: bytes.len() });
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a text is no secret. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// It is not base64.
    #[error("what stands behind `whsec_` is not base64 with padding")]
    Base64,
    /// It is too short to be safe, or longer than receivers expect.
    #[error("the secret has {actual} bytes; it must have {BYTES_MIN} to {BYTES_MAX}")]
    Length {
        /// How many bytes it has.
        actual: usize,
    },
    /// It does not say what it is.
    #[error("a secret begins with `whsec_`")]
    Prefix,
}

/// The operating system has no random bytes for a secret. Try again later.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes; try again later")]
pub struct NoRandomness(#[source] rand::rngs::SysError);

/// The value of [`SIGNATURE_HEADER`]: one signature for each secret.
#[must_use]
pub fn sign<'a>(
    secrets: impl IntoIterator<Item = &'a Secret>,
    id: &str,
    sent_at: Timestamp,
    body: &[u8],
) -> String {
    let signatures: Vec<String> = secrets
        .into_iter()
        .map(|secret| {
            let code = secret.authenticate(id, seconds(sent_at), body);
            format!("{VERSION}{}", STANDARD.encode(code))
        })
        .collect();
    signatures.join(" ")
}

pub(crate) fn seconds(moment: Timestamp) -> i64 {
    moment.as_micros().div_euclid(1_000_000)
}

/// The three headers of a message, as a receiver finds them.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "receivers make it, and the convention has three")]
pub struct SignedHeaders<'a> {
    /// [`ID_HEADER`].
    pub id: &'a str,
    /// [`TIMESTAMP_HEADER`].
    pub timestamp: &'a str,
    /// [`SIGNATURE_HEADER`].
    pub signature: &'a str,
}

/// Checks, as a receiver, that a message comes from somebody who knows `secret`, and that it was
/// sent at most `tolerance` before or after `now`; five minutes are usual.
///
/// Takes the body as it came, to the byte. How long it takes says nothing of the signature. A
/// message that was heard on its way can be sent again within the tolerance: keep the ids of that
/// time and pass over what you have seen.
///
/// ```
/// use std::time::Duration;
/// use annals_webhooks::{Secret, SignedHeaders, sign, verify};
///
/// let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let now = "2021-02-25T15:02:10Z".parse::<annals::Timestamp>()?;
/// let signature = sign([&secret], "msg_1", now, b"{}");
///
/// let headers = SignedHeaders { id: "msg_1", timestamp: "1614265330", signature: &signature };
/// verify(&secret, headers, b"{}", now, Duration::from_secs(300))?;
/// assert!(verify(&secret, headers, b"[]", now, Duration::from_secs(300)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Unverified`]: answer 401 and do nothing else.
pub fn verify(
    secret: &Secret,
    headers: SignedHeaders<'_>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Unverified> {
    let sent = headers.timestamp.parse::<i64>().map_err(|_| Unverified::Timestamp)?;
    if seconds(now).abs_diff(sent) > tolerance.as_secs() {
        return Err(Unverified::TooFarAway);
    }
    let code = secret.authenticate(headers.id, sent, body);
    let offered = headers.signature.split(' ').filter_map(|each| each.strip_prefix(VERSION));
    let fits = offered
        .filter_map(|each| STANDARD.decode(each).ok())
        .fold(Choice::from(0), |fits, each| fits | each.ct_eq(&code));
    if bool::from(fits) { Ok(()) } else { Err(Unverified::Signature) }
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// None of the signatures is that of this message by this secret.
    #[error("no signature fits; check the secret, and that the body is the very bytes that came")]
    Signature,
    /// The timestamp is no number.
    #[error("the header `{TIMESTAMP_HEADER}` is no number of seconds")]
    Timestamp,
    /// It was sent long ago, or one of the clocks is wrong.
    #[error("it was sent too long ago or in the future; check the clocks of both sides")]
    TooFarAway,
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vector of the reference implementations of Standard Webhooks.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const TOLERANCE: Duration = Duration::from_mins(5);

    fn known() -> Secret {
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000 + 999_999)
    }

    fn headers(signature: &str) -> SignedHeaders<'_> {
        SignedHeaders { id: ID, timestamp: SECONDS, signature }
    }

    #[test]
    fn a_signature_is_that_of_the_convention() {
        assert_eq!(sign([&known()], ID, at(1_614_265_330), BODY), SIGNATURE);
    }

    #[test]
    fn a_receiver_believes_any_of_several_signatures() {
        let other = Secret::generate().unwrap();
        let both = sign([&other, &known()], ID, at(1_614_265_330), BODY);
        assert_eq!(both.split(' ').count(), 2);
        for secret in [&other, &known()] {
            assert_eq!(verify(secret, headers(&both), BODY, at(1_614_265_330), TOLERANCE), Ok(()));
        }
        let mixed = format!("v1a,AAAA v1,### v1,AAAA {SIGNATURE}");
        assert_eq!(verify(&known(), headers(&mixed), BODY, at(1_614_265_330), TOLERANCE), Ok(()));
    }

    #[test]
    fn whatever_was_changed_is_not_believed() {
        let check = |headers, body| verify(&known(), headers, body, at(1_614_265_330), TOLERANCE);
        let wrong = Err(Unverified::Signature);
        assert_eq!(check(headers(SIGNATURE), b"{}"), wrong);
        assert_eq!(check(SignedHeaders { id: "msg_2", ..headers(SIGNATURE) }, BODY), wrong);
        assert_eq!(
            check(SignedHeaders { timestamp: "1614265331", ..headers(SIGNATURE) }, BODY),
            wrong
        );
        assert_eq!(check(headers(""), BODY), wrong);
        assert_eq!(check(headers(&SIGNATURE[..SIGNATURE.len() - 4]), BODY), wrong);
        let odd = SignedHeaders { timestamp: "soon", ..headers(SIGNATURE) };
        assert_eq!(check(odd, BODY), Err(Unverified::Timestamp));
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_not_believed() {
        let check = |now| verify(&known(), headers(SIGNATURE), BODY, at(now), TOLERANCE);
        assert_eq!(check(1_614_265_330 - 300), Ok(()));
        assert_eq!(check(1_614_265_330 + 300), Ok(()));
        assert_eq!(check(1_614_265_330 - 301), Err(Unverified::TooFarAway));
        assert_eq!(check(1_614_265_330 + 301), Err(Unverified::TooFarAway));
    }

    #[test]
    fn a_secret_is_read_as_it_is_written_and_never_shown() {
        let secret = Secret::generate().unwrap();
        let text = secret.reveal();
        assert_eq!(*text.parse::<Secret>().unwrap().reveal(), *text);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let refused = |text: &str| text.parse::<Secret>().unwrap_err();
        assert_eq!(refused("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), InvalidSecret::Prefix);
        assert_eq!(refused("whsec_MfKQ"), InvalidSecret::Length { actual: 3 });
        assert_eq!(refused("whsec_MfKQ!"), InvalidSecret::Base64);
    }
}
