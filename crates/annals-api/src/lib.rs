//! What Annals says over the wire: the JSON of requests, answers and problems.
//!
//! Requests refuse fields they do not know, so that a misspelt `expceted` never silently means
//! `any`. Data passes through byte for byte (S10): see [`Event`].
//!
//! ```
//! use annals_api::AppendRequest;
//!
//! let body = br#"{"streams":[{"stream":"account-1","expected":"no_stream",
//!     "events":[{"type":"AccountOpened","data":{"owner":"Ada"}}]}]}"#;
//! let append = AppendRequest::from_json(body)?.into_append(&annals_core::Limits::DEFAULT)?;
//! assert_eq!(append.events().next().unwrap().data.bytes, r#"{"owner":"Ada"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod deleted;
mod delivery;
mod event;
mod problem;
mod projection;
mod query;

pub use append::{AppendRequest, Condition, Receipt, StreamAppend};
pub use deleted::Deleted;
pub use delivery::{
    Attempt, Delivery, DeliveryHistory, Inbox, RetryRequest, SkipRequest, WhichDeliveries,
    delivery_id,
};
pub use event::{Event, Malformed, NewEvent};
pub use problem::{Conflict, Problem};
pub use projection::{
    Failure, Lag, Owner, ParkedEvent, Part, Projection, ProjectionGeneration, RebuildProgress,
    RebuildRequest,
};
pub use query::{Query, QueryItem};

/// The OpenAPI document of the HTTP API.
///
/// It is written by hand and kept as a golden file; the server's tests hold it and the routes
/// together.
pub const OPENAPI: &str = include_str!("../openapi.json");
