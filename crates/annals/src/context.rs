//! Who, why and in which conversation: what flows into the metadata of every event by itself.

use std::fmt;

use annals_core::{EventId, Metadata, RecordedEvent};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Instrument, Span, info_span};

tokio::task_local! {
    static CURRENT: Context;
}

/// Who does something, why, and what it belongs to.
///
/// Everything that is recorded within a [`scope`](Self::scope) carries it in its metadata. An
/// inner scope adds to the outer one.
///
/// ```
/// use annals::{Context, Metadata};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let request = Context::new().actor("ada").request_id("r-7").with("tenant", "acme");
/// request.scope(async {
///     let why = Context::new().reason("the goods came back");
///     why.scope(async {
///         let metadata = Context::current().metadata();
///         assert_eq!(metadata.get(Metadata::ACTOR), Some(json!("ada")));
///         assert_eq!(metadata.get(Metadata::REASON), Some(json!("the goods came back")));
///         assert_eq!(metadata.get("tenant"), Some(json!("acme")));
///     }).await;
/// }).await;
/// # }
/// ```
///
/// The outermost scope begins a conversation: what is recorded in it gets a fresh correlation
/// unless one is given. Tasks that are spawned inside a scope are outside of it; hand them
/// [`current`](Self::current).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(Map<String, Value>);

impl Context {
    /// Key of the request that was being answered.
    pub const REQUEST_ID: &'static str = "request_id";
    /// Key of the network address that asked for it.
    pub const ADDRESS: &'static str = "address";
    /// Key of the program that asked for it, as it calls itself.
    pub const USER_AGENT: &'static str = "user_agent";
    /// Key of the bulk operation that it was a part of: an object with `id` and `description`.
    pub const BATCH: &'static str = "batch";

    /// Key of what was executed, beside the events of whatever was executed under an id.
    pub const COMMAND: &'static str = "command";

    /// A context that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of the innermost [`scope`](Self::scope) that this code runs in; one that says
    /// nothing when there is none.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// The context of what happens because of an event: the same conversation, with the event
    /// as its cause.
    #[must_use]
    pub fn because_of(event: &RecordedEvent) -> Self {
        let conversation = event.metadata.get(Metadata::CORRELATION);
        let conversation = conversation.unwrap_or_else(|| event.id.to_string().into());
        Self::new().with(Metadata::CORRELATION, conversation).causation(event.id)
    }

    /// The same, as a part of one bulk operation, which `description` names for people.
    #[must_use]
    pub fn batch(self, description: &str) -> Self {
        let id = EventId::generate().to_string();
        self.with(Self::BATCH, serde_json::json!({ "id": id, "description": description }))
    }

    /// The same, done by this one.
    #[must_use]
    pub fn actor(self, actor: impl fmt::Display) -> Self {
        self.with(Metadata::ACTOR, actor.to_string())
    }

    /// The same, done for this reason.
    #[must_use]
    pub fn reason(self, reason: impl fmt::Display) -> Self {
        self.with(Metadata::REASON, reason.to_string())
    }

    /// The same, in this conversation.
    #[must_use]
    pub fn correlation(self, id: impl fmt::Display) -> Self {
        self.with(Metadata::CORRELATION, id.to_string())
    }

    /// The same, directly caused by this event or command.
    #[must_use]
    pub fn causation(self, id: impl fmt::Display) -> Self {
        self.with(Metadata::CAUSATION, id.to_string())
    }

    /// The same, while this request was being answered.
    #[must_use]
    pub fn request_id(self, id: impl fmt::Display) -> Self {
        self.with(Self::REQUEST_ID, id.to_string())
    }

    /// The same, asked for from this network address.
    #[must_use]
    pub fn address(self, address: impl fmt::Display) -> Self {
        self.with(Self::ADDRESS, address.to_string())
    }

    /// The same, asked for by this program.
    #[must_use]
    pub fn user_agent(self, agent: impl fmt::Display) -> Self {
        self.with(Self::USER_AGENT, agent.to_string())
    }

    /// The same with something of the application's own.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// What is said under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Who does it, when that is said.
    #[must_use]
    pub fn who(&self) -> Option<&str> {
        self.text(Metadata::ACTOR)
    }

    /// This context within another: what is said here stands, the rest is the other's.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let mut both = outer.0.clone();
        both.extend(self.0);
        Self(both)
    }

    /// As it stands beside an event.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata::new(&self.0).expect("a map with text keys is a JSON object")
    }

    /// The same with what an event says of itself, which stands.
    pub(crate) fn metadata_with(&self, own: &Metadata) -> Metadata {
        if self.0.is_empty() {
            return own.clone();
        }
        Self(own.to_map()).within(self).metadata()
    }

    /// Runs `work` in this context, within the one that is around it.
    ///
    /// Spans of [`tracing`] inside are within a span `annals` that has the same ids.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        let mut context = self.within(&Self::current());
        if context.get(Metadata::CORRELATION).is_none() {
            context = context.correlation(EventId::generate());
        }
        let span = context.span();
        CURRENT.scope(context, work.instrument(span)).await
    }

    fn span(&self) -> Span {
        let text = |key| self.text(key);
        info_span!(
            "annals",
            actor = text(Metadata::ACTOR),
            correlation = text(Metadata::CORRELATION),
            causation = text(Metadata::CAUSATION),
            request_id = text(Self::REQUEST_ID),
            batch = self.get(Self::BATCH).and_then(|batch| batch["id"].as_str()),
        )
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }
}

impl Serialize for Context {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
