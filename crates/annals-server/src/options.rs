//! What a server accepts: every limit has a name and a default.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{DeliveryQueue, Limits};

use crate::Token;
use crate::problem::Refusal;

/// How to serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What a client must show as `Authorization: Bearer …`. Without it the server listens on
    /// loopback only, and answers only requests for a loopback host.
    pub token: Option<Token>,
    /// Where the projections, inboxes and deliveries are that people look at and manage. Without
    /// it, whatever concerns them is refused.
    pub read_side: Option<Arc<dyn DeliveryQueue>>,
    /// Connections at the same time; more wait to be accepted.
    pub connections_max: usize,
    /// Tails at the same time; more are refused.
    pub tails_max: usize,
    /// Requests at the same time that wait until a projection has come so far; more are refused.
    pub waits_max: usize,
    /// How long such a request waits when it does not say.
    pub wait_default: Duration,
    /// How long it may wait at most.
    pub wait_max: Duration,
    /// Bytes of request bodies in memory at the same time; more wait.
    pub bodies_bytes_max: usize,
    /// Events of one page when the client names no limit.
    pub page_events_default: u64,
    /// Events of one page at most.
    pub page_events_max: u64,
    /// Bytes of one page, after which it ends early.
    pub page_bytes_max: usize,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take to send the body of a request.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread before it is cut off.
    pub write_timeout: Duration,
    /// How long the store may take to answer before it counts as unavailable to `/health`.
    pub health_timeout: Duration,
    /// How often a quiet tail sends a comment.
    pub keep_alive: Duration,
    /// How long requests may take to finish once the server is told to stop.
    pub shutdown_deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            read_side: None,
            connections_max: 1_024,
            tails_max: 256,
            waits_max: 64,
            wait_default: Duration::from_secs(5),
            wait_max: Duration::from_secs(30),
            bodies_bytes_max: 256 * 1024 * 1024,
            page_events_default: 1_000,
            page_events_max: 10_000,
            page_bytes_max: 4 * 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            health_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(15),
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// How many items a page may have when the client asks for `limit`.
    pub(crate) fn page_limit(&self, limit: Option<u64>) -> Result<u64, Refusal> {
        let limit = limit.unwrap_or(self.page_events_default);
        if limit > self.page_events_max {
            return Err(Refusal::invalid(format!(
                "limit {limit} is more than page_events_max = {}; follow `next` from page to page, \
                 or send `Accept: application/x-ndjson` to get everything in lines",
                self.page_events_max
            )));
        }
        Ok(limit)
    }
}

/// The names around one event: keys, id, type, tags, times.
const ENVELOPE_BYTES_PER_EVENT: usize = 512;
/// A stream's longest name and what stands around it.
const ENVELOPE_BYTES_PER_STREAM: usize = 1_024;
/// Room for conditions of any usual size.
const CONDITIONS_BYTES: usize = 1024 * 1024;

/// The most bytes that the body of an append may have, so that whatever the store accepts gets
/// through, base64 included.
pub(crate) fn body_bytes_max(limits: &Limits) -> usize {
    limits.append_bytes_max.div_ceil(3) * 4
        + limits.append_events_max * ENVELOPE_BYTES_PER_EVENT
        + limits.append_streams_max * ENVELOPE_BYTES_PER_STREAM
        + CONDITIONS_BYTES
}
