//! Deliveries that come again.

use std::sync::atomic::Ordering;

use annals::ReactErrorKind;
use annals_rules::{Definition, Outcome};
use serde_json::json;

use crate::tracker::{deliver_to, tracker};

#[tokio::test]
async fn an_event_that_is_delivered_again_does_nothing_again() {
    let tracker = tracker();
    let rule = Definition::new("Comment and say")
        .on("IssueOpened")
        .then("comment", json!({ "issue": "=event.stream_id", "text": "hello" }))
        .then("say", json!({ "text": "hello" }));
    tracker.rules.define("hello", rule).await.unwrap();
    let event = tracker.opened("1", "low").await;
    tracker.deliver(&event).await.unwrap();
    let log = tracker.log().await;
    tracker.deliver(&event).await.unwrap();
    assert_eq!(tracker.log().await, log);
    assert_eq!(tracker.said(), ["hello"]);
}

#[tokio::test]
async fn an_action_that_may_succeed_later_fails_the_delivery_and_what_was_done_is_not_done_again() {
    let tracker = tracker();
    let rule = Definition::new("Comment and call")
        .on("IssueOpened")
        .then("comment", json!({ "issue": "=event.stream_id", "text": "hello" }))
        .then("flaky", json!({}))
        .then("say", json!({ "text": "called" }));
    tracker.rules.define("a_call", rule).await.unwrap();
    let other = Definition::new("Say").on("IssueOpened").then("say", json!({ "text": "other" }));
    tracker.rules.define("b_say", other).await.unwrap();
    tracker.failures.store(2, Ordering::SeqCst);
    let event = tracker.opened("1", "low").await;

    for _ in 0..2 {
        let error = tracker.deliver(&event).await.unwrap_err();
        assert_eq!(error.kind(), ReactErrorKind::Transient);
        assert_eq!(error.source().to_string(), "the line is busy");
    }
    let only_the_other = [("b_say".to_owned(), Outcome::Fired)];
    assert_eq!(tracker.outcomes().await, only_the_other, "it holds up no other rule");
    tracker.deliver(&event).await.unwrap();

    let issue = tracker.app.load::<crate::tracker::Issue>("1").await.unwrap().state;
    assert_eq!(issue.comments, 1);
    assert_eq!(tracker.said(), ["other", "called"]);
    assert_eq!(tracker.outcomes().await.len(), 2);
}

#[tokio::test]
async fn two_that_deliver_the_same_at_the_same_time_record_it_once() {
    let tracker = tracker();
    let rule = Definition::new("Comment")
        .on("IssueOpened")
        .then("comment", json!({ "issue": "=event.stream_id", "text": "hello" }));
    tracker.rules.define("comment", rule).await.unwrap();
    let event = tracker.opened("1", "low").await;
    let deliveries = (0..8).map(|_| {
        let (rules, event) = (tracker.rules.clone(), event.clone());
        tokio::spawn(async move { deliver_to(&rules, &event).await.map_err(|e| format!("{e:?}")) })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await.unwrap().unwrap();
    }
    let types: Vec<_> =
        tracker.log().await.iter().map(|event| event.event_type.to_string()).collect();
    assert_eq!(types[..2], ["RuleDefined", "IssueOpened"]);
    assert_eq!(types[2..], ["CommentAdded", "RuleExecuted"]);
}
