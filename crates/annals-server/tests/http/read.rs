use serde_json::{Value, json};

use crate::client::{Server, positions};

async fn with_events(count: usize) -> Server {
    let server = Server::start().await;
    for number in 1..=count {
        let event = json!({"type": if number % 2 == 0 { "Even" } else { "Odd" },
            "data": number, "tags": [format!("third:{}", number % 3)]});
        let path = format!("/v1/streams/{}-1", if number % 5 == 0 { "five" } else { "other" });
        server.post(&path, event.to_string()).await.ok();
    }
    server
}

/// Everything that following `next` from page to page returns.
async fn follow(server: &Server, first: &str) -> Vec<Value> {
    let (mut events, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let page = server.get(&path).await.ok().json();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        next = page["next"].as_str().map(str::to_owned);
    }
    events
}

#[tokio::test]
async fn pages_add_up_to_the_whole() {
    let server = with_events(23).await;
    let whole = server.get("/v1/events").await.ok().json();
    assert_eq!(whole["next"], Value::Null);
    let whole = positions(whole["events"].as_array().unwrap());
    assert_eq!(whole.len(), 23);
    let mut reversed = whole.clone();
    reversed.reverse();
    for limit in [1, 7, 22, 23, 24] {
        let forward = follow(&server, &format!("/v1/events?limit={limit}")).await;
        assert_eq!(positions(&forward), whole, "{limit}");
        let backward =
            follow(&server, &format!("/v1/events?limit={limit}&direction=backward")).await;
        assert_eq!(positions(&backward), reversed, "{limit}");
        let stream = format!("/v1/streams/other-1?limit={limit}");
        let versions = |events: Vec<Value>| -> Vec<_> {
            events.iter().map(|event| event["version"].as_u64().unwrap()).collect()
        };
        assert_eq!(versions(follow(&server, &stream).await), (1..=19).collect::<Vec<_>>());
        let backward = follow(&server, &format!("{stream}&direction=backward")).await;
        assert_eq!(versions(backward), (1..=19).rev().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_next_page_keeps_every_filter() {
    let server = with_events(30).await;
    let path =
        "/v1/events?types=Even&types=Odd&tags=third%3A1&categories=other&streams=five-1&limit=2";
    let events = follow(&server, path).await;
    let numbers: Vec<_> = events.iter().map(|event| event["data"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]);
}

#[tokio::test]
async fn bounds_are_kept() {
    let server = with_events(10).await;
    let all = server.get("/v1/events").await.json();
    let all = all["events"].as_array().unwrap();
    let (third, seventh) = (&all[2], &all[6]);
    let path = format!("/v1/events?after={}&up_to={}", third["position"], seventh["position"]);
    assert_eq!(server.get(&path).await.json()["events"], json!(all[3..7]));
    let moment = seventh["recorded_at"].as_str().unwrap();
    let as_at = server.get(&format!("/v1/events?as_at={moment}")).await.json();
    assert!(as_at["events"].as_array().unwrap().len() >= 7);
    let nothing = server.get("/v1/events?as_at=2000-01-01T00:00:00Z").await.json();
    assert_eq!(nothing["events"], json!([]));
    let some = server.get("/v1/streams/other-1?from_version=2&to_version=4").await.json();
    assert_eq!(some["events"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn lines_hold_everything_one_event_each() {
    let server = with_events(12).await;
    let pretty = "{\"type\":\"Pretty\",\"data\":{\n \"text\": \"a\\nb\",\r\n \"n\": 1\n}}";
    server.post("/v1/streams/other-1", pretty).await.ok();
    let lines = server.get_lines("/v1/events").await.ok();
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    assert_eq!(lines.lines().len(), 13);
    assert!(!lines.text().contains('\r'), "{}", lines.text());
    assert_eq!(lines.lines()[12]["data"], json!({"text": "a\nb", "n": 1}));
    let some = server.get_lines("/v1/streams/five-1?limit=1").await.ok();
    assert_eq!(some.lines().len(), 1);
    assert_eq!(server.get_lines("/v1/streams/none-1").await.ok().text(), "");
}

#[tokio::test]
async fn names_survive_the_url() {
    let server = Server::start().await;
    for (path, name) in [
        ("account-a%2Fb", "account-a/b"),
        ("account-%C3%A9%20%F0%9F%8C%8D", "account-é 🌍"),
        ("account-100%25", "account-100%"),
        ("account-a+b", "account-a+b"),
        ("account-'%22%3B--", "account-'\";--"),
        ("account-..%2F..%2Fetc", "account-../../etc"),
    ] {
        server.post(&format!("/v1/streams/{path}"), r#"{"type":"A"}"#).await.ok();
        let page = server.get(&format!("/v1/streams/{path}")).await.ok().json();
        assert_eq!(page["events"][0]["stream"], name);
        assert_eq!(page["events"].as_array().unwrap().len(), 1);
    }
    for path in ["account-%00", "%20account", "account-%FF", "-1", "account-%0A"] {
        server
            .post(&format!("/v1/streams/{path}"), r#"{"type":"A"}"#)
            .await
            .problem(400, "invalid");
        server.get(&format!("/v1/streams/{path}")).await.problem(400, "invalid");
    }
}

#[tokio::test]
async fn parameters_are_taken_strictly() {
    let server = Server::start().await;
    for (path, reason) in [
        ("/v1/events?typo=1", "unknown parameter `typo`"),
        ("/v1/events?limit=1&limit=2", "more than once"),
        ("/v1/events?limit=10001", "page_events_max"),
        ("/v1/events?limit=-1", "`limit`"),
        ("/v1/events?after=x", "`after`"),
        ("/v1/events?direction=up", "`direction`"),
        ("/v1/events?as_at=now", "`as_at`"),
        ("/v1/events?tags=plain", "key:value"),
        ("/v1/events?types=%FF", "UTF-8"),
        ("/v1/events?types=%00", "control character"),
        ("/v1/events?from_version=1", "unknown parameter"),
        ("/v1/streams/a-1?after=1", "unknown parameter"),
        ("/v1/streams?category=a-b", "`category`"),
        ("/v1/tail?from=start", "`from`"),
        ("/v1/tail?from=head&after=1", "exclude each other"),
    ] {
        let problem = server.get(path).await.problem(400, "invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{path}: {detail}");
    }
    let many: String = (0..129).map(|number| format!("types=T{number}&")).collect();
    let problem = server.get(&format!("/v1/events?{many}")).await.problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("query_item_terms_max"));
    server.get(&format!("/v1/tail?{many}")).await.problem(400, "invalid");
}

#[tokio::test]
async fn streams_are_listed_in_pages() {
    let server = Server::start().await;
    for stream in ["b-2", "a-1", "b-1", "c"] {
        server.post(&format!("/v1/streams/{stream}"), r#"[{"type":"A"},{"type":"B"}]"#).await.ok();
    }
    let page = server.get("/v1/streams?limit=3").await.ok().json();
    let names = |page: &Value| -> Vec<_> {
        let streams = page["streams"].as_array().unwrap();
        streams.iter().map(|info| info["stream"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&page), ["a-1", "b-1", "b-2"]);
    assert_eq!(page["streams"][0]["version"], 2);
    let rest = server.get(page["next"].as_str().unwrap()).await.ok().json();
    assert_eq!((names(&rest), &rest["next"]), (vec!["c".to_owned()], &Value::Null));
    assert_eq!(names(&server.get("/v1/streams?category=b").await.json()), ["b-1", "b-2"]);
    let lines = server.get_lines("/v1/streams?category=b&limit=1").await.ok();
    assert_eq!(lines.lines()[0]["stream"], "b-1");
    assert_eq!(lines.lines().len(), 1);
}

#[tokio::test]
async fn totals_and_health() {
    let server = with_events(3).await;
    let stats = server.get("/v1/stats").await.ok().json();
    assert_eq!((&stats["events"], &stats["streams"]), (&json!(3), &json!(1)));
    let health = server.get("/health").await.ok().json();
    assert_eq!((&health["status"], &health["head"]), (&json!("ok"), &stats["head"]));
}
