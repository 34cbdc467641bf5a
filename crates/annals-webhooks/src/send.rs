//! One request to one URL, within limits on everything.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use annals::Timestamp;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::WebhookOptions;
use crate::connect::{Checked, ConnectFault, Connector};
use crate::reach::{InvalidEndpoint, NotPublic, Reach};
use crate::signature::{ID_HEADER, SIGNATURE_HEADER, Secret, TIMESTAMP_HEADER, seconds, sign};

const AGENT: &str = concat!("annals-webhooks/", env!("CARGO_PKG_VERSION"));
/// How long a connection is kept for the next message to the same host.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_PER_HOST_MAX: usize = 4;
/// All of a response's headers.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Sends messages.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client<Connector, Full<Bytes>>,
    reach: Arc<Reach>,
    timeout: Duration,
    body_bytes_max: usize,
    response_bytes_max: usize,
}

/// What is sent.
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    pub(crate) body: Bytes,
    pub(crate) secrets: &'a [Secret],
    pub(crate) sent_at: Timestamp,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As much of it as is kept, with marks for what is no text.
    pub(crate) body: String,
    pub(crate) truncated: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    /// For people: the status and what is kept of the body.
    pub(crate) fn shown(&self) -> String {
        let more = if self.truncated { "…" } else { "" };
        format!("{} {}{more}", self.status, self.body)
    }
}

impl Sender {
    pub(crate) fn new(options: &WebhookOptions) -> io::Result<Self> {
        let reach = Arc::new(options.reach.clone());
        let checked =
            Checked { reach: Arc::clone(&reach), resolver: Arc::clone(&options.resolver) };
        // Both schemes: which of them a URL may have, `Reach` has said before.
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(checked);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(HEADER_BYTES_MAX)
            .build(Connector { https, timeout: options.connect_timeout });
        Ok(Self {
            client,
            reach,
            timeout: options.timeout,
            body_bytes_max: options.body_bytes_max,
            response_bytes_max: options.response_bytes_max,
        })
    }

    /// Sends a message and reads the answer, whatever it says.
    pub(crate) async fn send(&self, url: &str, message: Message<'_>) -> Result<Answer, SendError> {
        let url = self.reach.check_url(url)?;
        let actual = message.body.len();
        if actual > self.body_bytes_max {
            return Err(SendError::TooLarge { actual, max: self.body_bytes_max });
        }
        let sent_at = message.sent_at;
        let request = request(url.as_str(), message)?;
        let deadline = Instant::now() + self.timeout;
        let response = timeout_at(deadline, self.client.request(request))
            .await
            .map_err(|_| SendError::Timeout { timeout: self.timeout })?
            .map_err(SendError::of)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response, sent_at);
        let (body, truncated) = kept(response, self.response_bytes_max, deadline).await;
        Ok(Answer { status, body, truncated, retry_after })
    }
}

fn request(url: &str, message: Message<'_>) -> Result<Request<Full<Bytes>>, SendError> {
    let signature = sign(message.secrets, message.id, message.sent_at, &message.body);
    Request::post(url)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .header(ID_HEADER, message.id)
        .header(TIMESTAMP_HEADER, seconds(message.sent_at))
        .header(SIGNATURE_HEADER, signature)
        .body(Full::new(message.body))
        .map_err(SendError::Request)
}

/// The beginning of an answer. That it breaks off or takes for ever changes nothing: the status
/// has said all.
async fn kept(response: Response<Incoming>, max: usize, deadline: Instant) -> (String, bool) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    let truncated = loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => break false,
            Err(_) | Ok(Some(Err(_))) => break true,
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                let room = max - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    break true;
                }
            }
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), truncated)
}

/// How long the receiver wants to be left alone: a number of seconds, or a date.
fn retry_after(response: &Response<Incoming>, now: Timestamp) -> Option<Duration> {
    parse_retry_after(response.headers().get(RETRY_AFTER)?.to_str().ok()?, now)
}

fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = Timestamp::from(httpdate::parse_http_date(text).ok()?);
    let micros = until.as_micros().saturating_sub(now.as_micros());
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection. It is tried again.
    #[error("could not connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The URL is one that is not called. Change it, or what is allowed.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The connection was lost, or what came is no HTTP. It is tried again.
    #[error("the exchange broke off")]
    Exchange(#[source] Box<dyn Error + Send + Sync>),
    /// The host leads to an address that is not called. Change the URL, or what is allowed.
    #[error(transparent)]
    NotPublic(NotPublic),
    /// The URL or the id makes no request.
    #[error("the URL makes no request")]
    Request(#[source] hyper::http::Error),
    /// There was no answer in time. It is tried again.
    #[error("there was no answer within {timeout:?}")]
    Timeout {
        /// How long was waited.
        timeout: Duration,
    },
    /// The event makes too large a message.
    #[error(
        "the message has {actual} bytes; at most {max} are sent (`WebhookOptions::body_bytes_max`)"
    )]
    TooLarge {
        /// How many bytes it has.
        actual: usize,
        /// How many are sent.
        max: usize,
    },
}

impl SendError {
    fn of(error: hyper_util::client::legacy::Error) -> Self {
        if let Some(not_public) = refused(&error) {
            return Self::NotPublic(not_public);
        }
        if error.is_connect() { Self::Connect(error.into()) } else { Self::Exchange(error.into()) }
    }

    /// Whether another attempt may have another end.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Exchange(_) | Self::Timeout { .. })
    }
}

/// The refused address at the end of the chain, if that is what happened.
fn refused(error: &(dyn Error + 'static)) -> Option<NotPublic> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.filter_map(|error| error.downcast_ref::<ConnectFault>()).find_map(|fault| match fault {
        ConnectFault::Refused(not_public) => Some(not_public.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = "2015-10-21T07:28:00Z".parse().unwrap();
        let parsed = |text| parse_retry_after(text, now);
        assert_eq!(parsed("120"), Some(Duration::from_secs(120)));
        assert_eq!(parsed("Wed, 21 Oct 2015 07:30:00 GMT"), Some(Duration::from_secs(120)));
        assert_eq!(parsed("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parsed("soon"), None);
        assert_eq!(parsed("-3"), None);
    }
}
