use std::time::{Duration, Instant};

use annals_core::{Limits, MemoryStore, SystemClock};
use annals_server::Options;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{DEADLINE, Server};

#[tokio::test]
async fn a_body_larger_than_any_append_is_refused_unread() {
    let server = Server::start().await;
    let head = "POST /v1/append HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let announced = format!("{head}content-length: 99999999999\r\n\r\n");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(announced.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

/// Without a Content-Length the size shows only while the body arrives.
#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let mut limits = Limits::DEFAULT;
    (limits.append_bytes_max, limits.append_events_max, limits.append_streams_max) = (1, 1, 1);
    let store = MemoryStore::with(std::sync::Arc::new(SystemClock), limits);
    let server = Server::of(store, Options::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/append HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let started = Instant::now();
    // The server stops reading and closes, so that sooner or later a write fails.
    while stream.write_all(chunk.as_bytes()).await.is_ok() {
        assert!(started.elapsed() < DEADLINE, "the server takes an endless body");
    }
    assert_eq!(server.get("/v1/stats").await.ok().json()["events"], 0);
}

#[tokio::test]
async fn slow_heads_and_bodies_are_not_waited_for() {
    let mut options = Options::default();
    options.head_timeout = Duration::from_millis(100);
    options.body_timeout = Duration::from_millis(100);
    let server = Server::of(MemoryStore::new(), options).await;
    assert_eq!(server.raw(b"GET /v1/stats HTTP/1.1\r\nhost: local").await, "");
    let request = "POST /v1/append HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                   content-type: application/json\r\n\r\n{";
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn store_limits_are_named() {
    let server = Server::start().await;
    let events = vec![json!({"type": "A"}); Limits::DEFAULT.append_events_max + 1];
    let refused = server.post("/v1/streams/a-1", json!(events).to_string()).await;
    let detail = refused.problem(400, "invalid")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("append_events_max"), "{detail}");
}

/// What the store takes, the server lets through, in either form.
#[tokio::test]
async fn the_largest_append_gets_through() {
    let server = Server::start().await;
    let text = "x".repeat(Limits::DEFAULT.event_data_bytes_max - 2);
    let event = json!({"type": "A", "data": text});
    server.post("/v1/streams/a-1", json!([event, event, event]).to_string()).await.ok();
    let base64 = "AAAA".repeat(Limits::DEFAULT.event_data_bytes_max / 3);
    let event = json!({"type": "A", "data_base64": base64, "content_type": "x/y"});
    server.post("/v1/streams/a-1", json!([event, event, event]).to_string()).await.ok();
}

/// A page ends after page_bytes_max, so that few large events cannot fill the memory; following
/// it still returns everything.
#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let mut options = Options::default();
    options.page_bytes_max = 1_000;
    let server = Server::of(MemoryStore::new(), options).await;
    let event = json!({"type": "A", "data": "x".repeat(600)});
    server.post("/v1/streams/a-1", json!(vec![event; 5]).to_string()).await.ok();
    let first = server.get("/v1/events").await.ok().json();
    assert_eq!(first["events"].as_array().unwrap().len(), 2);
    let second = server.get(first["next"].as_str().unwrap()).await.ok().json();
    assert_eq!(second["events"][0]["version"], 3);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let mut options = Options::default();
    options.write_timeout = Duration::from_millis(200);
    options.tails_max = 1;
    let store = MemoryStore::new();
    let server = Server::of(store, options).await;
    let event = json!({"type": "A", "data": "x".repeat(1_000_000)}).to_string();
    for _ in 0..20 {
        server.post("/v1/streams/a-1", event.clone()).await.ok();
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    server.get("/v1/tail").await.problem(503, "too_many_tails");
    // The slot comes back once the server has lost patience.
    let started = Instant::now();
    loop {
        let request = server.request(hyper::Method::GET, "/v1/tail", "");
        if server.send(request).await.status() == 200 {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "the tail is never given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
