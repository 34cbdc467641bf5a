use std::collections::VecDeque;
use std::time::Duration;

use annals_core::MemoryStore;
use annals_server::Options;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{DEADLINE, Server};

#[derive(Debug, PartialEq, Eq)]
struct Message {
    event: String,
    id: String,
    data: Value,
}

struct Tail {
    body: Incoming,
    rest: String,
    messages: VecDeque<Message>,
    comments: usize,
}

impl Tail {
    async fn open(server: &Server, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = server.request(Method::GET, path, "");
        if let Some(id) = last_event_id {
            request.headers_mut().insert("last-event-id", id.parse().unwrap());
        }
        let response = server.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body();
        Self { body, rest: String::new(), messages: VecDeque::new(), comments: 0 }
    }

    /// The next message; `None` when the tail ended.
    async fn next(&mut self) -> Option<Message> {
        let received = async {
            while self.messages.is_empty() {
                self.receive().await?;
            }
            self.messages.pop_front()
        };
        timeout(DEADLINE, received).await.expect("a message in time")
    }

    async fn receive(&mut self) -> Option<()> {
        let frame = self.body.frame().await?;
        self.rest.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        assert!(!self.rest.contains('\r'), "browsers take it for the end of a line: {}", self.rest);
        while let Some((message, rest)) = self.rest.split_once("\n\n") {
            let mut parsed = Message { event: String::new(), id: String::new(), data: Value::Null };
            for line in message.split('\n') {
                match line.split_once(": ") {
                    Some(("", _)) => self.comments += 1,
                    Some(("event", event)) => event.clone_into(&mut parsed.event),
                    Some(("id", id)) => id.clone_into(&mut parsed.id),
                    Some(("data", data)) => parsed.data = serde_json::from_str(data).unwrap(),
                    Some(("retry", _)) => {}
                    _ => panic!("not a line of server-sent events: {line:?}"),
                }
            }
            if !parsed.event.is_empty() {
                self.messages.push_back(parsed);
            }
            self.rest = rest.to_owned();
        }
        Some(())
    }

    async fn next_event(&mut self) -> Message {
        loop {
            let message = self.next().await.expect("the tail goes on");
            if message.event == "event" {
                return message;
            }
        }
    }
}

async fn append(server: &Server, stream: &str, data: Value) -> String {
    let body = json!({"type": "A", "data": data}).to_string();
    let receipt = server.post(&format!("/v1/streams/{stream}"), body).await.ok().json();
    receipt["last_position"].to_string()
}

#[tokio::test]
async fn a_tail_catches_up_and_then_follows() {
    let server = Server::start().await;
    let first = append(&server, "a-1", json!({"text": "line\nbreak"})).await;
    let mut tail = Tail::open(&server, "/v1/tail", None).await;
    let event = tail.next().await.unwrap();
    assert_eq!((&*event.event, &event.id), ("event", &first));
    assert_eq!(event.data["data"], json!({"text": "line\nbreak"}));
    let caught_up = tail.next().await.unwrap();
    assert_eq!((&*caught_up.event, &caught_up.id), ("caught_up", &first));
    assert_eq!(caught_up.data["position"].to_string(), first);
    let second = append(&server, "a-1", json!(2)).await;
    assert_eq!(tail.next_event().await.id, second);
}

/// Data that spans lines must not end a message early.
#[tokio::test]
async fn line_breaks_between_tokens_do_not_break_messages() {
    let server = Server::start().await;
    let body = "{\"type\":\"A\",\"data\":{\n\n\"id\": 1,\r\n\r\n\"x\":\r2}}";
    server.post("/v1/streams/a-1", body).await.ok();
    let mut tail = Tail::open(&server, "/v1/tail", None).await;
    assert_eq!(tail.next_event().await.data["data"], json!({"id": 1, "x": 2}));
}

#[tokio::test]
async fn a_tail_begins_where_it_is_told() {
    let server = Server::start().await;
    let first = append(&server, "a-1", json!(1)).await;
    let second = append(&server, "a-1", json!(2)).await;
    let mut after = Tail::open(&server, &format!("/v1/tail?after={first}"), None).await;
    assert_eq!(after.next_event().await.id, second);
    let mut resumed = Tail::open(&server, "/v1/tail?after=0", Some(&first)).await;
    assert_eq!(resumed.next_event().await.id, second);
    let mut new = Tail::open(&server, "/v1/tail?from=head", None).await;
    assert_eq!(new.next().await.unwrap().event, "caught_up");
    let mut filtered = Tail::open(&server, "/v1/tail?categories=b", None).await;
    let caught_up = filtered.next().await.unwrap();
    assert_eq!((&*caught_up.event, &caught_up.id), ("caught_up", &second));
    let third = append(&server, "b-1", json!(3)).await;
    assert_eq!(new.next_event().await.id, third);
    assert_eq!(filtered.next_event().await.id, third);
}

/// A reader that loses its connection again and again, at any message, while many write, and
/// each time resumes after the last id it saw, must see every event once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn resuming_neither_skips_nor_repeats() {
    const WRITERS: usize = 4;
    const EVENTS_EACH: usize = 60;
    let server = std::sync::Arc::new(Server::start().await);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let server = server.clone();
            tokio::spawn(async move {
                for number in 0..EVENTS_EACH {
                    append(&server, &format!("w-{writer}"), json!(number)).await;
                }
            })
        })
        .collect();
    let mut seen: Vec<Value> = Vec::new();
    let mut last: Option<String> = None;
    let mut connection = 0;
    while seen.len() < WRITERS * EVENTS_EACH {
        connection += 1;
        let mut tail = Tail::open(&server, "/v1/tail", last.as_deref()).await;
        for _ in 0..(connection * 7) % 13 + 1 {
            let message = tail.next().await.expect("the tail goes on");
            last = Some(message.id);
            if message.event == "event" {
                seen.push(message.data);
            }
            if seen.len() == WRITERS * EVENTS_EACH {
                break;
            }
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(connection > 10, "only {connection} connections");
    let all = server.get("/v1/events?limit=1000").await.ok().json();
    assert_eq!(json!(seen), all["events"]);
}

#[tokio::test]
async fn a_quiet_tail_says_that_it_is_there() {
    let mut options = Options::default();
    options.keep_alive = Duration::from_millis(20);
    let server = Server::of(MemoryStore::new(), options).await;
    let mut tail = Tail::open(&server, "/v1/tail", None).await;
    let quiet = async {
        while tail.comments < 3 {
            tail.receive().await.unwrap();
        }
    };
    timeout(DEADLINE, quiet).await.expect("comments in time");
    let position = append(&server, "a-1", json!(1)).await;
    assert_eq!(tail.next_event().await.id, position);
}

#[tokio::test]
async fn a_wrong_last_event_id_is_refused() {
    let server = Server::start().await;
    let mut request = server.request(Method::GET, "/v1/tail", "");
    request.headers_mut().insert("last-event-id", "x".parse().unwrap());
    let answer = crate::client::Answer::of(server.send(request).await).await;
    answer.problem(400, "invalid");
}

#[tokio::test]
async fn stopping_ends_tails_and_idle_connections() {
    let server = Server::start().await;
    append(&server, "a-1", json!(1)).await;
    let mut tail = Tail::open(&server, "/v1/tail", None).await;
    tail.next_event().await;
    let address = server.address;
    server.stop().await;
    while tail.next().await.is_some() {}
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
