use std::time::Duration;

use annals_core::{
    Append, AppendError, EventStore, EventStream, Fault, Limits, ListStreams, MemoryStore,
    Position, Read, ReadError, Receipt, Stats, StreamCatalog, StreamInfos, Subscribe, Subscription,
};
use annals_server::Options;
use async_trait::async_trait;
use futures_util::stream;
use serde_json::json;

use crate::client::Server;

/// What must never reach a client.
const INTERNALS: &str = "page 7 of /var/lib/annals.db";

/// A store that fails in one way.
#[derive(Debug)]
struct Failing {
    append: fn() -> AppendError,
    read: fn() -> ReadError,
    limits: Limits,
    /// Reads neither fail nor answer.
    is_stuck: bool,
}

#[async_trait]
impl EventStore for Failing {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn append(&self, _: Append) -> Result<Receipt, AppendError> {
        Err((self.append)())
    }

    fn read(&self, _: Read) -> EventStream {
        if self.is_stuck {
            return Box::pin(stream::pending());
        }
        Box::pin(stream::iter([Err((self.read)())]))
    }

    fn subscribe(&self, _: Subscribe) -> Subscription {
        Box::pin(stream::iter([Err((self.read)())]))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Err((self.read)())
    }
}

#[async_trait]
impl StreamCatalog for Failing {
    fn streams(&self, _: ListStreams) -> StreamInfos {
        Box::pin(stream::iter([Err((self.read)())]))
    }

    async fn stats(&self) -> Result<Stats, ReadError> {
        Err((self.read)())
    }
}

async fn failing(append: fn() -> AppendError, read: fn() -> ReadError) -> Server {
    Server::of(
        Failing { append, read, limits: Limits::DEFAULT, is_stuck: false },
        Options::default(),
    )
    .await
}

fn fault() -> Fault {
    Fault::because("reading", INTERNALS)
}

#[tokio::test]
async fn errors_keep_their_group_and_hide_their_reason() {
    type Case = (fn() -> AppendError, fn() -> ReadError, u16, &'static str);
    let cases: [Case; 4] = [
        (|| AppendError::Closed, || ReadError::Closed, 503, "closed"),
        (|| AppendError::Corrupt(fault()), || ReadError::Corrupt(fault()), 500, "corrupt"),
        (
            || AppendError::Unavailable(fault()),
            || ReadError::Unavailable(fault()),
            503,
            "unavailable",
        ),
        (
            || AppendError::Unsupported("tags"),
            || ReadError::Unsupported("tags"),
            501,
            "unsupported",
        ),
    ];
    for (append, read, status, code) in cases {
        let server = failing(append, read).await;
        let mut answers = vec![server.post("/v1/streams/a-1", r#"{"type":"A"}"#).await];
        for path in ["/v1/events", "/v1/streams/a-1", "/v1/streams", "/v1/stats", "/health"] {
            answers.push(server.get(path).await);
        }
        answers.push(server.get_lines("/v1/events").await);
        for answer in answers {
            answer.problem(status, code);
            assert!(!answer.text().contains("page 7"), "{answer:?}");
            assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
        }
        let tail = server.get("/v1/tail").await.ok();
        assert!(tail.text().contains("event: problem\n"), "{}", tail.text());
        assert!(tail.text().contains(&format!(r#""code":"{code}""#)), "{}", tail.text());
        assert!(!tail.text().contains("page 7"));
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_healthy() {
    let (append, read) = (|| AppendError::Closed, || ReadError::Closed);
    let store = Failing { append, read, limits: Limits::DEFAULT, is_stuck: true };
    let mut options = Options::default();
    options.health_timeout = Duration::from_millis(20);
    let server = Server::of(store, options).await;
    server.get("/health").await.problem(503, "unavailable");
}

/// The server chose the ids, so only its answer can say what to repeat.
#[tokio::test]
async fn an_unknown_outcome_says_which_ids_to_repeat() {
    let server = failing(|| AppendError::Indeterminate(fault()), || ReadError::Closed).await;
    let answer = server.post("/v1/streams/a-1", r#"[{"type":"A"},{"type":"B"}]"#).await;
    let problem = answer.problem(504, "indeterminate");
    assert_eq!(problem["event_ids"].as_array().unwrap().len(), 2);
    assert!(problem["detail"].as_str().unwrap().contains("same event ids"));
}

/// A stored event whose metadata is damaged breaks the answer off; half an answer must never
/// look whole.
#[tokio::test]
async fn lines_that_cannot_be_finished_are_cut_off() {
    use annals_core::{
        Data, EventStoreExt, EventType, ExpectedVersion, Metadata, NewEvent, StreamId,
    };

    let store = MemoryStore::new();
    let stream = StreamId::from_static("a-1");
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    let whole = || NewEvent::new(EventType::from_static("A"), Data::json(large.clone()));
    let damaged = whole().with_metadata(Metadata::from_stored("{".into()));
    let events = [whole(), damaged];
    store.append_to(stream, ExpectedVersion::Any, events).await.unwrap();
    let server = Server::of(store, Options::default()).await;

    server.get("/v1/events").await.problem(500, "corrupt");
    let request =
        "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\r\n";
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(answer.contains(r#""type":"A""#));
    assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk says that the answer is whole");
    assert_eq!(server.get("/v1/stats").await.ok().json()["events"], json!(2));
}
