//! Who asks.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use super::InvalidCluster;

/// Who asks a cluster, and the secret that shows it; never printed.
#[derive(Clone)]
pub struct Credentials(HeaderValue);

impl Credentials {
    /// An API key, encoded as the cluster gave it out (`encoded`, the Base64 of id and key).
    ///
    /// # Errors
    /// [`InvalidCluster::Secret`] when it cannot stand in a header.
    pub fn api_key(encoded: impl AsRef<str>) -> Result<Self, InvalidCluster> {
        Self::header(&format!("ApiKey {}", encoded.as_ref().trim()))
    }

    /// A user and a password.
    ///
    /// # Errors
    /// [`InvalidCluster::Secret`] when the user has a colon in the name.
    pub fn basic(user: &str, password: &str) -> Result<Self, InvalidCluster> {
        if user.contains(':') {
            return Err(InvalidCluster::Secret);
        }
        Self::header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    fn header(text: &str) -> Result<Self, InvalidCluster> {
        let mut value = HeaderValue::from_str(text).map_err(|_| InvalidCluster::Secret)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// What stands behind `Authorization`.
    pub(super) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_and_never_printed() {
        let key = Credentials::api_key("aWQ6a2V5\n").unwrap();
        assert_eq!(key.value().as_bytes(), b"ApiKey aWQ6a2V5");
        let user = Credentials::basic("Aladdin", "open sesame").unwrap();
        assert_eq!(user.value().as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let options = super::super::ElasticsearchOptions::new("http://localhost").credentials(user);
        for printed in [format!("{key:?}"), format!("{:?}", key.value()), format!("{options:?}")] {
            assert!(!printed.contains("aWQ6a2V5") && !printed.contains("QWxhZ"), "{printed}");
        }
        for invalid in [Credentials::api_key("a\nb"), Credentials::basic("a:b", "c")] {
            assert!(matches!(invalid, Err(InvalidCluster::Secret)));
        }
    }
}
