//! A log, its webhooks, and a receiver that answers what it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::{
    Annals, Data, DeliveryId, EventId, EventStoreExt, EventType, ExpectedVersion, ManualClock,
    MemoryStore, NewEvent, ReactError, Reacting, Reactor, RecordedEvent, StreamId, SubscriberName,
    Timestamp,
};
use annals_webhooks::{
    MemorySecrets, NewWebhook, Reach, Registered, WebhookId, WebhookOptions, Webhooks,
};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use tokio::net::TcpListener;

pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";

/// A log with webhooks.
pub(crate) struct World {
    pub(crate) annals: Annals,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) secrets: Arc<MemorySecrets>,
    pub(crate) webhooks: Webhooks,
}

impl World {
    /// One that may call this machine.
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(change: impl FnOnce(WebhookOptions) -> WebhookOptions) -> Self {
        Self::over(Annals::new(MemoryStore::new()), change)
    }

    pub(crate) fn over(
        annals: Annals,
        change: impl FnOnce(WebhookOptions) -> WebhookOptions,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(NOW.parse().expect("a moment")));
        let annals = annals.with_clock(Arc::clone(&clock));
        let options = WebhookOptions::default()
            .reach(Reach::public().allowing_loopback())
            .clock(Arc::clone(&clock));
        let secrets = Arc::new(MemorySecrets::default());
        let webhooks = Webhooks::new(annals.clone(), Arc::clone(&secrets), change(options))
            .expect("the machine has certificates");
        Self { annals, clock, secrets, webhooks }
    }

    pub(crate) async fn register(&self, url: &str) -> Registered {
        self.webhooks.register(NewWebhook::to(url)).await.expect("it can be registered")
    }

    /// An event of this type in this stream.
    pub(crate) async fn happens(&self, stream: &str, event_type: &'static str) -> RecordedEvent {
        let data = Data::json(format!(r#"{{"amount": {}}}"#, 100));
        let event = NewEvent::new(EventType::from_static(event_type), data)
            .with_id(EventId::generate())
            .occurred_at(NOW.parse().expect("a moment"));
        let stream = StreamId::new(stream).expect("a stream");
        let store = self.annals.store();
        store.append_to(stream.clone(), ExpectedVersion::Any, [event]).await.expect("appended");
        let read = annals::Read::stream(stream).backward().limit(1);
        store.read_to_end(read).await.expect("read").remove(0)
    }

    pub(crate) async fn deposit(&self) -> RecordedEvent {
        self.happens("account-1", "MoneyDeposited").await
    }

    /// One attempt to send the event to the webhook.
    pub(crate) async fn attempt(
        &self,
        id: &WebhookId,
        event: &RecordedEvent,
        attempt: u32,
    ) -> Result<String, ReactError> {
        let inbox = SubscriberName::new("webhooks").expect("a name");
        let delivery = DeliveryId::new(&inbox, event.id, Some(id.as_str()));
        let recipient = Some(id.to_string());
        let reacting = Reacting::new(delivery, attempt, recipient, event.clone());
        self.webhooks.react(&reacting).await?;
        Ok(reacting.noted().unwrap_or_default())
    }

    pub(crate) fn later(&self, time: Duration) {
        use annals::Clock;
        self.clock.set(self.clock.now().saturating_add(time));
    }

    /// The types of the events in a webhook's stream.
    pub(crate) async fn told(&self, id: &WebhookId) -> Vec<String> {
        let stream = StreamId::of("webhook", id).expect("a stream");
        let read = annals::Read::stream(stream);
        let events = self.annals.store().read_to_end(read).await.expect("read");
        events.iter().map(|event| event.event_type.to_string()).collect()
    }
}

/// What a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("plain text")
    }

    /// The type of the event, by the body.
    pub(crate) fn event_type(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        body["type"].as_str().expect("a type").to_owned()
    }

    pub(crate) fn verified_by(&self, secret: &annals_webhooks::Secret, now: Timestamp) -> bool {
        let headers = annals_webhooks::SignedHeaders {
            id: self.header(annals_webhooks::ID_HEADER),
            timestamp: self.header(annals_webhooks::TIMESTAMP_HEADER),
            signature: self.header(annals_webhooks::SIGNATURE_HEADER),
        };
        let tolerance = Duration::from_mins(5);
        annals_webhooks::verify(secret, headers, &self.body, now, tolerance).is_ok()
    }
}

/// A receiver on this machine.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    got: Mutex<Vec<Got>>,
    next: Mutex<VecDeque<Response<Body>>>,
}

impl Receiver {
    /// One that answers 204, unless told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Answers::default());
        let router = Router::new().fallback(receive).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers the next request like this.
    pub(crate) fn answers(&self, status: u16, headers: &[(&str, &str)], body: impl Into<Body>) {
        let builder = Response::builder().status(status);
        let builder =
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        let response = builder.body(body.into()).expect("a response");
        self.state.next.lock().expect("not poisoned").push_back(response);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.got.lock().expect("not poisoned").clone()
    }
}

async fn receive(
    State(state): State<Arc<Answers>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let got = Got { path: uri.path().to_owned(), headers, body };
    state.got.lock().expect("not poisoned").push(got);
    let next = state.next.lock().expect("not poisoned").pop_front();
    next.unwrap_or_else(|| Response::builder().status(204).body(Body::empty()).expect("a response"))
}

/// A receiver that takes connections and never says anything.
pub(crate) async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
        }
    });
    address
}
