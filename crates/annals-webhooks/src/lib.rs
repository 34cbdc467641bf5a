//! Webhooks: what happens in a log, sent to whoever registered a URL.
//!
//! [`Webhooks`] registers them, changes them and [runs](Webhooks::start) them. All of it can be
//! done while they run, and is itself in the log, in streams `webhook-<id>`; only their secrets
//! are elsewhere, in a place that keeps [`Secrets`].
//!
//! ```no_run
//! # async fn run(annals: annals::Annals, queue: std::sync::Arc<dyn annals::DeliveryQueue>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use annals_webhooks::{FileSecrets, NewWebhook, WebhookOptions, Webhooks};
//!
//! let secrets = FileSecrets::new("/var/lib/bank/webhooks.json");
//! let webhooks = Webhooks::new(annals, secrets, WebhookOptions::default())?;
//! let running = webhooks.start(queue).await?;
//!
//! let crm = webhooks.register(NewWebhook::to("https://crm.example/hooks")).await?;
//! println!("the secret of {}, shown only now: {}", crm.id, *crm.secret.reveal());
//! // …
//! running.stop().await;
//! # Ok(()) }
//! ```
//!
//! # What a receiver gets
//!
//! A `POST` for each event, by the convention of
//! [Standard Webhooks](https://www.standardwebhooks.com):
//!
//! ```text
//! webhook-id: 0191e7c2-5a3b-7c4d-8e9f-0a1b2c3d4e5f
//! webhook-timestamp: 1772366400
//! webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//! content-type: application/json
//!
//! {"type":"MoneyDeposited","timestamp":"2026-03-01T12:00:00Z","data":{"amount":100},
//!  "id":"0191e7c2-5a3b-7c4d-8e9f-0a1b2c3d4e5f","stream":"account-1","version":3,
//!  "position":17,"schema_version":1}
//! ```
//!
//! (on one line). `timestamp` is when it happened, `data` the event's data to the byte. Data that
//! are no JSON come as `data_base64` with their `content_type` instead. Metadata is not sent.
//!
//! At least once, in no order: a receiver keeps the `webhook-id`, which is the event's id and the
//! same in every attempt and every [replay](Webhooks::replay), to pass over what it has, and
//! compares `version` or `position` where order matters. An event that an upcaster splits is
//! several messages, which share its `id`, `version` and `position`: the first has its id as
//! `webhook-id`, those after it `<id>-1`, `<id>-2` and so on.
//!
//! It [`verify`]s the signature and answers 2xx within the [timeout](WebhookOptions::timeout); what
//! other answers lead to says [`Outcome`].
//!
//! # What is not called
//!
//! Whoever registers a URL makes this program call it. [`Reach`] says what may be called: public
//! addresses by `https`, unless more is allowed. A host is resolved once for a connection, every
//! address it has must be allowed, and the connection goes to an address that was checked.
//! Redirects are not followed, proxies of the environment are not used.

mod address;
mod attempts;
mod body;
mod command;
mod connect;
mod deliver;
mod fan_out;
mod health;
mod options;
mod outcome;
mod reach;
mod reactor;
mod registrations;
mod replay;
mod running;
mod secrets;
mod send;
mod signature;
mod webhook;
mod webhooks;

pub use address::{AddressRange, InvalidRange};
pub use attempts::WebhookAttempt;
pub use command::WebhookRefusal;
pub use connect::{Resolve, SystemResolver};
pub use options::{Disabling, WebhookOptions};
pub use outcome::Outcome;
pub use reach::{InvalidEndpoint, NotPublic, Reach, URL_BYTES_MAX};
pub use registrations::{Registration, RegistrationsError};
pub use replay::{Replay, ReplayError};
pub use running::RunningWebhooks;
pub use secrets::{FileSecrets, MemorySecrets, Secrets, SecretsError};
pub use send::SendError;
pub use signature::{
    ID_HEADER, InvalidSecret, NoRandomness, SIGNATURE_HEADER, Secret, SignedHeaders,
    TIMESTAMP_HEADER, Unverified, sign, verify,
};
pub use webhook::{
    EventFilter, InvalidWebhookId, KeyId, Webhook, WebhookEvent, WebhookId, WebhookStatus,
};
pub use webhooks::{NewWebhook, NoAuthorities, Registered, Webhooks, WebhooksError};
