use std::time::Duration;

use annals_core::{CheckpointStore, Claim, Generation};
use annals_core::{Failure, Timestamp};
use annals_server::Options;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, DEADLINE, Server};
use crate::derived::Derived;

const DEPOSIT: &str = r#"{"type":"MoneyDeposited","data":{"amount":100}}"#;

/// Appends, and returns the token.
async fn deposit(server: &Server) -> String {
    let appended = server.post("/v1/streams/account-1", DEPOSIT).await.ok();
    appended.headers["annals-after"].to_str().unwrap().to_owned()
}

async fn get_with(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = server.request(Method::GET, path, "");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    Answer::of(server.send(request).await).await
}

/// Asks until the answer is as it should be.
async fn until(server: &Server, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let started = std::time::Instant::now();
    loop {
        let answer = server.get(path).await.ok().json();
        if is(&answer) {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_append_is_in_the_rows_once_its_token_was_waited_for() {
    let derived = Derived::start().await;
    let (server, (balances, running)) = (&derived.server, derived.run());
    running.wait_for(0.into(), DEADLINE).await.unwrap();
    for round in 1..=20 {
        let token = deposit(server).await;
        let path = "/v1/projections/balances";
        let answer = match round % 3 {
            0 => get_with(server, path, &[("annals-after", &token), ("annals-wait", "20s")]).await,
            1 => server.get(&format!("{path}?wait_for={token}&timeout=20s")).await,
            _ => get_with(server, "/v1/projections", &[("annals-after", &token)]).await,
        };
        answer.ok();
        assert_eq!(balances.get("1").await.unwrap(), Some(round * 100));
    }
    let status = server.get("/v1/projections/balances").await.ok().json();
    assert_eq!(status["state"], "running");
    assert_eq!(status["lag"], json!({"events": 0, "or_more": false, "seconds": 0.0}));
    assert_eq!(status["generations"][0]["parts"][0]["events"], 20);
    assert!(status["generations"][0]["parts"][0]["owner"]["name"].is_string());
}

#[tokio::test]
async fn a_wait_that_is_not_reached_says_how_far_it_came() {
    let derived = Derived::start().await;
    let (server, _) = (&derived.server, derived.enrol("balances", 1).await);
    let token = deposit(server).await;
    let path = format!("/v1/projections/balances?wait_for={token}&timeout=50ms");
    let problem = server.get(&path).await.problem(504, "not_reached");
    assert!(problem["detail"].as_str().unwrap().contains("position 0 only"), "{problem}");
    let headers = [("annals-after", &*token), ("annals-wait", "0s")];
    get_with(server, "/v1/projections", &headers).await.problem(504, "not_reached");
    get_with(server, "/v1/projections/balances/parked", &headers).await.problem(504, "not_reached");
    let status = server.get("/v1/projections/balances").await.ok().json();
    assert_eq!((&status["position"], &status["lag"]["events"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn nobody_waits_for_a_projection_that_has_stopped() {
    let derived = Derived::start().await;
    let (server, subscriber) = (&derived.server, derived.enrol("balances", 1).await);
    let claim = Claim {
        subscriber,
        generation: Generation::FIRST,
        partition: 0,
        owner: "test".into(),
        now: Timestamp::EPOCH,
        until: Timestamp::EPOCH,
    };
    let lease = derived.read_side.claim(claim).await.unwrap().unwrap();
    let failure =
        Failure { event: None, error: "the sum overflows".to_owned(), at: Timestamp::EPOCH };
    derived.read_side.fail(&lease, failure).await.unwrap();
    let answer = server.get("/v1/projections/balances?wait_for=1&timeout=30s").await;
    let problem = answer.problem(409, "projection_failed");
    assert!(problem["detail"].as_str().unwrap().contains("the sum overflows"), "{problem}");
    let status = server.get("/v1/projections/balances").await.ok().json();
    assert_eq!(status["state"], "failed");
    let resumed = server.post("/v1/projections/balances/resume", "").await.ok().json();
    assert_eq!(resumed["state"], "running");
}

#[tokio::test]
async fn a_projection_is_paused_resumed_and_rebuilt_where_it_runs() {
    let derived = Derived::start().await;
    let (server, (balances, running)) = (&derived.server, derived.run());
    let token = deposit(server).await;
    let path = format!("/v1/projections/balances?wait_for={token}&timeout=20s");
    until(server, "/v1/projections", |all| all["projections"].as_array().unwrap().len() == 1).await;
    server.get(&path).await.ok();

    let paused = server.post("/v1/projections/balances/pause", "{}").await.ok().json();
    assert_eq!(paused["state"], "paused");
    let body = json!({"partitions": 2, "after": 0}).to_string();
    let rebuilding = server.post("/v1/projections/balances/rebuild", body).await.ok().json();
    assert_eq!(rebuilding["generations"][1]["role"], "building");
    assert_eq!(rebuilding["generations"][1]["parts"].as_array().unwrap().len(), 2);
    assert_eq!(rebuilding["rebuild"]["done"], 0.0);
    let given_up = server.post("/v1/projections/balances/cancel", "{}").await.ok().json();
    assert_eq!(given_up["generations"].as_array().unwrap().len(), 1);
    assert_eq!(given_up["rebuild"], Value::Null);

    server.post("/v1/projections/balances/rebuild", r#"{"partitions":2}"#).await.ok();
    server.post("/v1/projections/balances/resume", "{}").await.ok();
    let path = "/v1/projections/balances";
    let swapped = until(server, path, |status| status["generations"][0]["generation"] != 1).await;
    assert_eq!(swapped["generations"][0]["parts"].as_array().unwrap().len(), 2);
    assert_eq!(balances.get("1").await.unwrap(), Some(100));
    running.stop().await;
}

#[tokio::test]
async fn a_projection_is_deleted_once_nobody_runs_it() {
    let derived = Derived::start().await;
    let (server, (balances, running)) = (&derived.server, derived.run());
    let token = deposit(server).await;
    let path = "/v1/projections/balances";
    running.wait_for(1.into(), DEADLINE).await.unwrap();
    server.get(&format!("{path}?wait_for={token}&timeout=20s")).await.ok();
    let problem = server.delete(path).await.problem(409, "in_use");
    assert!(problem["detail"].as_str().unwrap().contains("stop it there"), "{problem}");
    running.stop().await;
    server.delete(&format!("{path}?yes=1")).await.problem(400, "invalid");
    let gone = json!({"name": "balances", "parked": 0, "rows": 1, "deliveries": 0, "tables": []});
    assert_eq!(server.delete(path).await.ok().json(), gone);
    server.get(path).await.problem(404, "unknown_subscriber");
    assert_eq!(balances.get("1").await.unwrap(), None);
}

#[tokio::test]
async fn what_nobody_runs_is_not_found() {
    let derived = Derived::start().await;
    derived.dead("email", &["ada"]).await;
    let server = &derived.server;
    for name in ["balances", "email"] {
        let path = format!("/v1/projections/{name}");
        let problem = server.get(&path).await.problem(404, "unknown_subscriber");
        assert!(problem["detail"].as_str().unwrap().contains(name));
        let parked = server.get(&format!("{path}/parked")).await;
        parked.problem(404, "unknown_subscriber");
        let waited = server.get(&format!("{path}?wait_for=1&timeout=20s")).await;
        waited.problem(404, "unknown_subscriber");
        for wish in ["cancel", "pause", "rebuild", "resume"] {
            let told = server.post(&format!("{path}/{wish}"), "").await;
            told.problem(404, "unknown_subscriber");
        }
        server.delete(&path).await.problem(404, "unknown_subscriber");
    }
    assert_eq!(server.get("/v1/projections").await.ok().json(), json!({"projections": []}));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let derived = Derived::start().await;
    derived.enrol("balances", 1).await;
    let server = &derived.server;
    let long = format!("/v1/projections/{}", "x".repeat(1_000));
    for path in [
        "/v1/projections?limit=1",
        "/v1/projections/balances?wait_for=-1",
        "/v1/projections/balances?wait_for=1e3",
        "/v1/projections/balances?wait_for=1&timeout=31s",
        "/v1/projections/balances?wait_for=1&timeout=99999999999999999999ms",
        "/v1/projections/balances?wait_for=1&timeout=5",
        "/v1/projections/balances?wait_for=1&timeout=%2B5s",
        "/v1/projections/balances?timeout=5s",
        "/v1/projections/balances?wait_for=1&wait_for=2",
        "/v1/projections/balances/parked?limit=10001",
        "/v1/projections/bal%00ances",
        "/v1/projections/bal%20ances",
        "/v1/projections/%FF",
        &long,
    ] {
        server.get(path).await.problem(400, "invalid");
    }
    let path = "/v1/projections/balances";
    for headers in [
        &[("annals-after", "soon")][..],
        &[("annals-after", "1"), ("annals-after", "2")],
        &[("annals-after", "1"), ("annals-wait", "31s")],
        &[("annals-wait", "1s")],
    ] {
        get_with(server, path, headers).await.problem(400, "invalid");
    }
    let both = get_with(server, &format!("{path}?timeout=1s"), &[("annals-after", "1")]).await;
    both.problem(400, "invalid");
    for body in [
        r#"{"partitions":0}"#,
        r#"{"partitions":1025}"#,
        r#"{"partitions":-1}"#,
        r#"{"after":"x"}"#,
        r#"{"speed":1}"#,
        "[",
    ] {
        server.post(&format!("{path}/rebuild"), body).await.problem(400, "invalid");
    }
    server.post(&format!("{path}/pause"), r#"{"for":"ever"}"#).await.problem(400, "invalid");
    server.post(&format!("{path}/pause?for=ever"), "{}").await.problem(400, "invalid");
    server.get(&format!("{path}/pause")).await.problem(405, "method_not_allowed");
    let status = server.get(path).await.ok().json();
    assert_eq!(status["state"], "running", "nothing of it was done");
}

#[tokio::test]
async fn only_so_many_wait_at_once() {
    let mut options = Options::default();
    options.waits_max = 1;
    let derived = Derived::with(options).await;
    derived.enrol("balances", 1).await;
    let (server, path) = (&derived.server, "/v1/projections/balances?wait_for=9&timeout=2s");
    let (first, second) = tokio::join!(server.get(path), server.get(path));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [503, 504]);
    let busy = if first.status == 503 { first } else { second };
    busy.problem(503, "too_many_waits");
    assert!(busy.headers.contains_key("retry-after"));
}

/// A server that stops does not let its clients wait for nothing.
#[tokio::test]
async fn whoever_waits_is_told_that_the_server_stops() {
    let derived = Derived::start().await;
    derived.enrol("balances", 1).await;
    let Derived { server, .. } = derived;
    let request = b"GET /v1/projections/balances?wait_for=9&timeout=30s HTTP/1.1\r\n\
                    host: localhost\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    // The second answer shows that the first request is being served.
    server.get("/health").await.ok();
    server.stop().await;
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.contains("stopping"), "{answer}");
}

#[tokio::test]
async fn without_a_read_side_there_is_nothing_to_manage() {
    let server = Server::start().await;
    for path in [
        "/v1/projections",
        "/v1/projections/balances",
        "/v1/projections/balances/parked",
        "/v1/inboxes",
        "/v1/deliveries",
        "/v1/deliveries/email%2F1",
    ] {
        let problem = server.get(path).await.problem(501, "no_read_side");
        assert!(problem["detail"].as_str().unwrap().contains("--read-side"));
    }
    for path in [
        "/v1/projections/balances/pause",
        "/v1/projections/balances/rebuild",
        "/v1/inboxes/email/pause",
        "/v1/deliveries/retry",
        "/v1/deliveries/skip",
    ] {
        server.post(path, "{}").await.problem(501, "no_read_side");
    }
}
