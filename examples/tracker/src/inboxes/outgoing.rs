//! JSON to other services over HTTP.

use std::fmt;
use std::io;
use std::time::Duration;

use annals::ReactError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

/// How long a service has to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer is kept for people to look at.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// The longest that a service is left alone because it asks for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Sends JSON to services that whoever runs the tracker has named.
#[derive(Clone, Debug)]
pub struct Outgoing {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A URL that is a secret, since whoever knows it can write there.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "it only keeps the URL out of logs")]
pub struct Secluded(pub Url);

impl fmt::Debug for Secluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secluded(..)")
    }
}

/// The machine has no certificates of authorities to check services by.
#[derive(Debug, thiserror::Error)]
#[error("there are no certificates of authorities; install the package ca-certificates")]
pub struct NoAuthorities(#[source] io::Error);

/// Why a service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("it answered {status}: {said}")]
    Answered { status: StatusCode, said: String },
    #[error("it did not answer within {ANSWER_PATIENCE:?}")]
    Silent,
}

impl Outgoing {
    /// With the machine's certificates.
    ///
    /// # Errors
    /// [`NoAuthorities`].
    pub fn new() -> Result<Self, NoAuthorities> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(NoAuthorities)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(https) })
    }

    /// Sends it, and says what was answered. `key` is the same for what is the same.
    ///
    /// # Errors
    /// Permanent when the service refuses it as it is; transient when it may take it later. The
    /// URL, which may be a secret, is in none of them.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        key: &str,
        body: &Value,
    ) -> Result<String, ReactError> {
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(ReactError::permanent)?;
        let asked = async {
            let answer = self.client.request(request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            Ok::<_, hyper_util::client::legacy::Error>((head, said.unwrap_or_default()))
        };
        let answered = timeout(ANSWER_PATIENCE, asked).await;
        let (head, said) = answered.map_err(|_| ReactError::transient(Unsent::Silent))??;
        let status = head.status;
        if status.is_success() {
            return Ok(format!("{status} {said}"));
        }
        let unsent = Unsent::Answered { status, said };
        let after =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let may_pass = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        Err(match after {
            _ if !may_pass => ReactError::permanent(unsent),
            Some(wait) => ReactError::retry_after(wait, unsent),
            None => ReactError::transient(unsent),
        })
    }
}
