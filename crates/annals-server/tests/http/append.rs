use serde_json::{Value, json};

use crate::client::Server;

#[tokio::test]
async fn an_event_is_there_as_it_was_sent() {
    let server = Server::start().await;
    let sent = json!({
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "MoneyDeposited",
        "schema_version": 2,
        "data": {"amount": 100},
        "metadata": {"actor": "teller-7"},
        "tags": ["branch:7", "a:b"],
        "occurred_at": "2026-03-01T12:00:00Z",
    });
    let receipt = server.post("/v1/streams/account-1", sent.to_string()).await.ok().json();
    assert_eq!(receipt["streams"], json!([{"stream": "account-1", "version": 1}]));
    assert_eq!(receipt["event_ids"], json!([sent["id"]]));

    let page = server.get("/v1/streams/account-1").await.ok().json();
    let event = &page["events"][0];
    for field in ["id", "type", "schema_version", "data", "metadata", "occurred_at"] {
        assert_eq!(event[field], sent[field], "{field}");
    }
    assert_eq!(event["tags"], json!(["a:b", "branch:7"]));
    assert_eq!(event["position"], receipt["first_position"]);
    assert_eq!(event["recorded_at"], receipt["recorded_at"]);
}

/// Numbers beyond what a double holds, repeated keys, escapes, spaces and line breaks between
/// tokens: a server that parsed data and wrote it again would change each of these.
#[tokio::test]
async fn data_passes_through_byte_for_byte() {
    let server = Server::start().await;
    for data in [
        r#"{"n":123456789012345678901234567890.00e+1}"#,
        r#"{"b":1,"a":2,"b":3}"#,
        r#""\u00e9 é \/""#,
        "{\n  \"pretty\" : [ 1,\r\n\t2 ]\n}",
        "null",
        "-0.0",
    ] {
        let body = format!(r#"{{"type":"Sent","data":{data},"metadata":{{"k" :  1.0}}}}"#);
        let path = "/v1/streams/bytes-1";
        server.post(path, body).await.ok();
        let page = server.get(&format!("{path}?direction=backward&limit=1")).await.ok();
        assert!(page.text().contains(&format!(r#""data":{data},"#)), "{}", page.text());
        assert!(page.text().contains(r#""metadata":{"k" :  1.0}"#), "{}", page.text());
    }
}

#[tokio::test]
async fn bytes_that_are_not_json_travel_in_base64() {
    let server = Server::start().await;
    let sent = json!({"type": "Photographed", "data_base64": "AP/+", "content_type": "image/png"});
    server.post("/v1/streams/photo-1", sent.to_string()).await.ok();
    let page = server.get("/v1/streams/photo-1").await.ok().json();
    let event = &page["events"][0];
    assert_eq!(
        (&event["data_base64"], &event["content_type"]),
        (&json!("AP/+"), &json!("image/png"))
    );
    assert_eq!(event.get("data"), None);
}

#[tokio::test]
async fn several_streams_are_appended_to_at_once_or_not_at_all() {
    let server = Server::start().await;
    let transfer = |expected: Value| {
        json!({"streams": [
            {"stream": "account-1", "expected": "any", "events": [{"type": "TransferSent"}]},
            {"stream": "account-2", "expected": expected, "events": [{"type": "TransferReceived"}]},
        ]})
        .to_string()
    };
    server.post("/v1/append", transfer(json!("no_stream"))).await.ok();
    let refused = server.post("/v1/append", transfer(json!({"exact": 7}))).await;
    assert_eq!(
        refused.problem(409, "conflict")["conflict"],
        json!({"kind": "version", "stream": "account-2", "expected": {"exact": 7}, "found": 1})
    );
    assert_eq!(server.get("/v1/stats").await.json()["events"], 2);
}

#[tokio::test]
async fn a_condition_holds_or_says_what_broke_it() {
    let server = Server::start().await;
    let register = json!({
        "streams": [{"stream": "user-1", "events": [{"type": "Registered", "tags": ["name:ada"]}]}],
        "conditions": [{"query": {"items": [{"types": ["Registered"], "tags": ["name:ada"]}]}}],
    });
    let receipt = server.post("/v1/append", register.to_string()).await.ok().json();
    let refused = server.post("/v1/append", register.to_string()).await;
    let conflict = refused.problem(409, "conflict")["conflict"].clone();
    assert_eq!(conflict["kind"], "condition");
    assert_eq!(conflict["found"], receipt["first_position"]);
    assert_eq!(conflict["condition"]["query"], register["conditions"][0]["query"]);

    let mut later = register;
    later["conditions"][0]["after"] = receipt["last_position"].clone();
    server.post("/v1/append", later.to_string()).await.ok();
}

#[tokio::test]
async fn expected_versions_can_be_parameters() {
    let server = Server::start().await;
    let many = json!([{"type": "A"}, {"type": "B"}]).to_string();
    let path = "/v1/streams/account-1";
    server
        .post(&format!("{path}?expected=stream_exists"), many.clone())
        .await
        .problem(409, "conflict");
    server.post(&format!("{path}?expected=no_stream"), many.clone()).await.ok();
    server.post(&format!("{path}?expected=no_stream"), many.clone()).await.problem(409, "conflict");
    server.post(&format!("{path}?expected=1"), many.clone()).await.problem(409, "conflict");
    server.post(&format!("{path}?expected=2"), many.clone()).await.ok();
    server.post(&format!("{path}?expected=any"), many.clone()).await.ok();
    server.post(&format!("{path}?expected=-1"), many).await.problem(400, "invalid");
}

#[tokio::test]
async fn a_repeat_returns_the_first_receipt() {
    let server = Server::start().await;
    let body = json!([{"type": "A", "id": "01890a5d-ac96-774b-bcce-b302099a8057"}]).to_string();
    let path = "/v1/streams/account-1?expected=no_stream";
    let first = server.post(path, body.clone()).await.ok();
    let second = server.post(path, body).await.ok();
    assert_eq!(first.text(), second.text());
    assert_eq!(server.get("/v1/stats").await.json()["events"], 1);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_name() {
    let server = Server::start().await;
    let cases = [
        ("", "EOF"),
        ("{", "EOF"),
        ("[{}]", "missing field `type`"),
        (r#"{"type":"A"} x"#, "trailing characters"),
        (r#"{"type":"A","expceted":1}"#, "unknown field `expceted`"),
        (r#"{"type":"A","type":"B"}"#, "duplicate field `type`"),
        (r#"{"type":""}"#, "event type is empty"),
        (r#"{"type":"A\u0000"}"#, "control character"),
        (r#"{"type":"A","schema_version":0}"#, "nonzero"),
        (r#"{"type":"A","id":"x"}"#, "UUID"),
        (r#"{"type":"A","tags":["plain"]}"#, "key:value"),
        (r#"{"type":"A","metadata":[]}"#, "metadata must be a JSON object"),
        (r#"{"type":"A","occurred_at":"yesterday"}"#, "RFC 3339"),
        (r#"{"type":"A","data":1,"data_base64":"AA=="}"#, "send one of them"),
        (r#"{"type":"A","data":1,"content_type":"image/png"}"#, "data_base64"),
        (r#"{"type":"A","data_base64":"?"}"#, "not base64"),
        ("[]", "no events"),
        ("\"\u{0}\"", "control character"),
    ];
    for (body, reason) in cases {
        let problem = server.post("/v1/streams/account-1", body).await.problem(400, "invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{body}: {detail}");
    }
    let cases = [
        (r#"{}"#, "missing field `streams`"),
        (r#"{"streams":[]}"#, "no events"),
        (r#"{"streams":[{"stream":"a-1","expected":"maybe"}]}"#, "unknown variant `maybe`"),
        (r#"{"streams":[{"stream":"-1"}]}"#, "no category"),
        (
            r#"{"streams":[],"conditions":[{"query":{"items":[{"type":"A"}]}}]}"#,
            "conditions[0] is not what it must be: unknown field `type`",
        ),
        (
            r#"{"streams":[{"stream":"a-1","events":[{"type":"A"},{"typ":"B"}]}]}"#,
            "events[1] of a-1 is not what it must be: unknown field `typ`",
        ),
        (
            r#"{"streams":[{"stream":"a-1","events":[{"type":"A"}]},{"stream":"a-1"}]}"#,
            "occurs twice",
        ),
    ];
    for (body, reason) in cases {
        let problem = server.post("/v1/append", body).await.problem(400, "invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{body}: {detail}");
    }
    let many = "{},".repeat(5_000);
    let body = format!(r#"{{"streams":[],"conditions":[{{"query":{{"items":[{many}{{}}]}}}}]}}"#);
    let problem = server.post("/v1/append", body).await.problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("more than 4096 items"), "{problem}");
    assert_eq!(server.get("/v1/stats").await.json()["events"], 0);
}

/// Nesting deeper than any stack must be an answer, not a crash.
#[tokio::test]
async fn deep_nesting_does_no_harm() {
    let server = Server::start().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(r#"{{"type":"A","data":{deep}}}"#);
    server.post("/v1/streams/deep-1", body).await.ok();
    let body = format!(r#"{{"type":"A","metadata":{deep}}}"#);
    server.post("/v1/streams/deep-1", body).await.problem(400, "invalid");
    assert!(server.get("/v1/streams/deep-1").await.ok().text().contains(&deep));
}

#[tokio::test]
async fn numbers_beyond_every_position_are_held_to_the_last() {
    let server = Server::start().await;
    let body = json!({
        "streams": [{"stream": "a-1", "events": [{"type": "A"}]}],
        "conditions": [{"query": {"items": [{}]}, "after": u64::MAX}],
    });
    server.post("/v1/append", body.to_string()).await.ok();
    assert_eq!(
        server.get(&format!("/v1/events?after={}", u64::MAX)).await.ok().json()["events"],
        json!([])
    );
}
