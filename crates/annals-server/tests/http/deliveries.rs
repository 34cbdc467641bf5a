use annals_core::{EventId, SubscriberName};
use annals_server::{Options, Token};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Server};
use crate::derived::Derived;

/// The id as it stands in a path.
fn escaped(id: &str) -> String {
    id.replace('/', "%2F")
}

async fn states(server: &Server) -> Vec<Value> {
    let page = server.get("/v1/deliveries").await.ok().json();
    page["deliveries"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_inspected_retried_and_skipped() {
    let derived = Derived::start().await;
    let ids = derived.dead("email", &["ada", "bob", "eve"]).await;
    let server = &derived.server;
    let inboxes = server.get("/v1/inboxes").await.ok().json();
    assert_eq!(inboxes["inboxes"][0]["name"], "email");
    assert_eq!(
        (&inboxes["inboxes"][0]["dead"], &inboxes["inboxes"][0]["state"]),
        (&json!(3), &json!("running"))
    );

    let shown =
        server.get(&format!("/v1/deliveries/{}", escaped(ids[0].as_str()))).await.ok().json();
    assert_eq!(
        (&shown["delivery"]["id"], &shown["delivery"]["state"]),
        (&json!(ids[0].as_str()), &json!("dead"))
    );
    assert_eq!(shown["delivery"]["last_error"], "sending: connection refused");
    assert_eq!(
        (&shown["attempts"][0]["number"], &shown["attempts"][0]["seconds"]),
        (&json!(1), &json!(0.25))
    );

    let retry = json!({"deliveries": {"id": ids[0].as_str()}}).to_string();
    let retried = server.post("/v1/deliveries/retry", retry).await.ok().json();
    assert_eq!(retried, json!({"retried": 1}));
    let skip = json!({"deliveries": {"inbox": "email", "recipient": "bob"}, "reason": "left us"});
    let skipped = server.post("/v1/deliveries/skip", skip.to_string()).await.ok().json();
    assert_eq!(skipped, json!({"skipped": 1}));
    assert_eq!(states(server).await, ["waiting", "skipped", "dead"]);
    let shown =
        server.get(&format!("/v1/deliveries/{}", escaped(ids[1].as_str()))).await.ok().json();
    assert_eq!(shown["delivery"]["skipped"], "left us");

    let retry = json!({"deliveries": {"inbox": "email", "state": "dead"}}).to_string();
    assert_eq!(server.post("/v1/deliveries/retry", retry).await.ok().json(), json!({"retried": 1}));
    let skip = json!({"deliveries": {}, "all": true, "reason": "the end"}).to_string();
    assert_eq!(server.post("/v1/deliveries/skip", skip).await.ok().json(), json!({"skipped": 2}));
}

#[tokio::test]
async fn deliveries_are_filtered_and_paged() {
    let derived = Derived::start().await;
    derived.dead("email", &["ada", "bob", "ada", "eve", "ada"]).await;
    derived.dead("slack", &["ops"]).await;
    let server = &derived.server;
    let count = async |filter: &str| {
        let page = server.get(&format!("/v1/deliveries?{filter}")).await.ok().json();
        page["deliveries"].as_array().unwrap().len()
    };
    for (filter, expected) in [
        ("", 6),
        ("inbox=email", 5),
        ("inbox=none", 0),
        ("recipient=ada", 3),
        ("inbox=email&recipient=ops", 0),
        ("type=IssueAssigned&stream=issue-1&state=dead", 6),
        ("state=done", 0),
        ("type=Other", 0),
    ] {
        assert_eq!(count(filter).await, expected, "{filter}");
    }
    let mut path = Some("/v1/deliveries?inbox=email&limit=2".to_owned());
    let mut positions = Vec::new();
    while let Some(page) = path {
        let page = server.get(&page).await.ok().json();
        let found = page["deliveries"].as_array().unwrap();
        assert!(found.len() <= 2);
        positions.extend(found.iter().map(|one| one["position"].as_u64().unwrap()));
        path = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(positions, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn inboxes_are_told_what_to_do() {
    let derived = Derived::start().await;
    derived.dead("email", &["ada"]).await;
    derived.enrol("balances", 1).await;
    let server = &derived.server;
    for (wish, state) in
        [("pause", "paused"), ("resume", "running"), ("disable", "disabled"), ("enable", "running")]
    {
        let told = server.post(&format!("/v1/inboxes/email/{wish}"), "{}").await.ok().json();
        assert_eq!(told["state"], state);
        // Neither what is unknown nor what is a projection is an inbox.
        for other in ["balances", "none"] {
            let told = server.post(&format!("/v1/inboxes/{other}/{wish}"), "{}").await;
            told.problem(404, "unknown_subscriber");
        }
    }
    let projection = server.get("/v1/projections/balances").await.ok().json();
    assert_eq!(projection["state"], "running");
}

#[tokio::test]
async fn an_inbox_is_deleted_with_its_deliveries() {
    let derived = Derived::start().await;
    derived.dead("email", &["ada", "bob"]).await;
    derived.dead("chat", &["ada"]).await;
    derived.enrol("balances", 1).await;
    let server = &derived.server;
    let gone = json!({"name": "email", "parked": 0, "rows": 0, "deliveries": 2, "tables": []});
    assert_eq!(server.delete("/v1/inboxes/email").await.ok().json(), gone);
    for other in ["email", "balances", "none"] {
        let told = server.delete(&format!("/v1/inboxes/{other}")).await;
        told.problem(404, "unknown_subscriber");
    }
    let left = server.get("/v1/deliveries").await.ok().json();
    assert_eq!(left["deliveries"].as_array().unwrap().len(), 1);
    server.get("/v1/projections/balances").await.ok();
}

#[tokio::test]
async fn hostile_ids_and_filters_are_refused_and_change_nothing() {
    let derived = Derived::start().await;
    derived.dead("email", &["ada"]).await;
    let server = &derived.server;
    let id = format!("email/{}", EventId::from_bytes([9; 16]));
    for unknown in [&*id, "' OR 1=1 --", "../../etc/passwd", "%"] {
        let id: String = unknown.bytes().map(|byte| format!("%{byte:02X}")).collect();
        server.get(&format!("/v1/deliveries/{id}")).await.problem(404, "unknown_delivery");
    }
    let long = "x".repeat(3_000);
    for path in [
        "/v1/deliveries/a%00b",
        "/v1/deliveries/%FF",
        &format!("/v1/deliveries/{long}"),
        "/v1/deliveries?recipient=a%00b",
        &format!("/v1/deliveries?recipient={long}"),
        "/v1/deliveries?inbox=a%20b",
        "/v1/deliveries?inbox=",
        "/v1/deliveries?state=asleep",
        "/v1/deliveries?state=Dead",
        "/v1/deliveries?type=%00",
        "/v1/deliveries?limit=10001",
        "/v1/deliveries?limit=-1",
        "/v1/deliveries?after=1",
        "/v1/deliveries?after=x:y",
        "/v1/deliveries?order=desc",
        "/v1/inboxes?limit=1",
    ] {
        server.get(path).await.problem(400, "invalid");
    }
    let long_reason = "x".repeat(5_000);
    for body in [
        json!({}),
        json!({"deliveries": {}}),
        json!({"deliveries": {}, "reason": "everything"}),
        json!({"deliveries": {"inbox": "email"}}),
        json!({"deliveries": {"inbox": "email"}, "reason": " "}),
        json!({"deliveries": {"inbox": "email"}, "reason": "a\u{0}b"}),
        json!({"deliveries": {"inbox": "email"}, "reason": long_reason}),
        json!({"deliveries": {"inbox": "a b"}, "reason": "x"}),
        json!({"deliveries": {"id": "a\u{0}b"}, "reason": "x"}),
        json!({"deliveries": {"id": long}, "reason": "x"}),
        json!({"deliveries": {"inboxes": ["email"]}, "reason": "x"}),
        json!({"deliveries": {"state": "asleep"}, "reason": "x"}),
        json!({"inbox": "email", "reason": "x"}),
    ] {
        server.post("/v1/deliveries/skip", body.to_string()).await.problem(400, "invalid");
    }
    for body in ["{}", "", "[]", r#"{"deliveries":{}}"#, r#"{"deliveries":{"id":1}}"#] {
        server.post("/v1/deliveries/retry", body).await.problem(400, "invalid");
    }
    let none = json!({"deliveries": {"id": "' OR 1=1 --"}, "reason": "x"}).to_string();
    assert_eq!(server.post("/v1/deliveries/skip", none).await.ok().json(), json!({"skipped": 0}));
    assert_eq!(states(server).await, ["dead"]);
    assert!(SubscriberName::new("a b").is_err());
}

#[tokio::test]
async fn management_needs_the_token_and_json() {
    let mut options = Options::default();
    options.token = Some(Token::new("correct-horse-battery").unwrap());
    let derived = Derived::with(options).await;
    derived.dead("email", &["ada"]).await;
    let server = &derived.server;
    for path in ["/v1/projections", "/v1/inboxes", "/v1/deliveries", "/v1/deliveries/x"] {
        server.get(path).await.problem(401, "unauthorized");
    }
    let skip = r#"{"deliveries":{},"all":true,"reason":"mine"}"#;
    for path in [
        "/v1/inboxes/email/pause",
        "/v1/projections/balances/rebuild",
        "/v1/deliveries/retry",
        "/v1/deliveries/skip",
    ] {
        server.post(path, skip).await.problem(401, "unauthorized");
        // What a page of another origin could send without being asked.
        let mut request = server.request(Method::POST, path, skip);
        request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        let token = "Bearer correct-horse-battery".parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let answer = Answer::of(server.send(request).await).await;
        answer.problem(415, "unsupported_media_type");
    }
    let mut request = server.request(Method::GET, "/v1/deliveries", "");
    let token = "Bearer correct-horse-battery".parse().unwrap();
    request.headers_mut().insert("authorization", token);
    let page = Answer::of(server.send(request).await).await.ok().json();
    assert_eq!(page["deliveries"][0]["state"], "dead");
}
