//! What rules store, byte by byte.

use std::fmt::Write as _;

use annals_rules::{Definition, Rules};
use serde_json::json;

use crate::tracker::tracker_with;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/events.txt");

#[tokio::test]
async fn what_rules_store_is_what_they_always_stored() {
    let tracker = tracker_with(Rules::recording_not_met);
    let small = Definition::new("Say").on("IssueOpened").then("say", json!({}));
    let all = Definition::new("Escalate")
        .description("What is urgent goes to whoever is on call.")
        .on("IssueOpened")
        .on("CommentAdded")
        .when("event.data.priority == 'urgent'")
        .then("assign", json!({ "issue": "=event.stream_id", "to": "nobody" }))
        .then("say", json!({ "text": "==", "list": [1, { "a": null }] }))
        .order(-3)
        .continue_on_failure()
        .also_by_itself();
    tracker.rules.define("say", small.clone()).await.unwrap();
    tracker.rules.define("escalate", all).await.unwrap();
    tracker.opened("1", "urgent").await;
    tracker.opened("2", "low").await;
    tracker.deliver_all().await;
    tracker.rules.change("say", small.when("1 / 0 == 1")).await.unwrap();
    tracker.opened("3", "low").await;
    tracker.deliver_all().await;
    tracker.rules.disable("say").await.unwrap();
    tracker.rules.enable("say").await.unwrap();
    tracker.rules.remove("say").await.unwrap();

    let log = tracker.log().await;
    let mut stored = String::new();
    for event in log.iter().filter(|event| event.event_type.as_str().starts_with("Rule")) {
        let tags: Vec<_> = event.tags.iter().filter_map(|tag| tag.split(':').next()).collect();
        let (stream, version) = (&event.stream, event.version.get());
        let event_type = &event.event_type;
        writeln!(stored, "{stream} {version} {event_type} {tags:?}\n{:?}", event.data).unwrap();
    }
    // The only thing that is another each time: which events were looked at.
    for event in &log {
        stored = stored.replace(&event.id.to_string(), &format!("@{}", event.position));
    }
    if std::env::var_os("ANNALS_SCHEMA").is_some_and(|what| what == "update") {
        std::fs::write(GOLDEN, &stored).unwrap();
    }
    assert_eq!(stored, std::fs::read_to_string(GOLDEN).unwrap());
}
