//! Rules behind an inbox that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals::inbox::Retries;
use annals::{MemoryReadSide, types};
use annals_rules::{Definition, Outcome};
use serde_json::json;

use crate::tracker::{IssueEvent, tracker_with};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_inbox_applies_the_rules_and_tries_again_what_may_succeed_later() {
    let tracker = tracker_with(|rules| rules.triggered_by(types!(IssueEvent)));
    let escalate = Definition::new("Escalate")
        .on("IssueOpened")
        .when("event.data.priority == 'urgent'")
        .then("flaky", json!({}))
        .then("assign", json!({ "issue": "=event.stream_id", "to": "on-call" }));
    tracker.rules.define("escalate", escalate).await.unwrap();
    let greet = Definition::new("Tell")
        .on("IssueAssigned")
        .then("comment", json!({ "issue": "=event.stream_id", "text": "='To ' + event.data.to" }));
    tracker.rules.define("greet", greet).await.unwrap();
    tracker.failures.store(2, Ordering::SeqCst);
    tracker.opened("1", "low").await;
    tracker.opened("2", "urgent").await;

    let retries = Retries::default().first(Duration::from_millis(10));
    let running = tracker
        .app
        .inboxes(Arc::new(MemoryReadSide::new()))
        .inbox(tracker.rules.inbox("rules").retry(retries))
        .start()
        .await
        .unwrap();
    // What is tried later is not due now, so to be idle does not say that it was made.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tracker.executions().await.len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", tracker.log().await);
        running.wait_until_idle(PATIENCE).await.unwrap();
        tokio::task::yield_now().await;
    }
    running.wait_until_idle(PATIENCE).await.unwrap();
    running.stop().await;

    assert_eq!(tracker.assignee("1").await, None);
    assert_eq!(tracker.assignee("2").await.as_deref(), Some("on-call"));
    assert_eq!(
        tracker.outcomes().await,
        [("escalate".to_owned(), Outcome::Fired), ("greet".to_owned(), Outcome::Fired)]
    );
}
