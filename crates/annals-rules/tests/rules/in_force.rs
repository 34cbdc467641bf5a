//! Which version of a rule looks at an event.

use annals::Annals;
use annals_rules::{Actions, Definition, Rules};
use serde_json::json;

use crate::tracker::{deliver_to, tracker};

fn say(text: &str) -> Definition {
    Definition::new("Say").on("IssueOpened").then("say", json!({ "text": text }))
}

#[tokio::test]
async fn the_version_in_force_when_the_event_was_recorded_is_applied_whenever_that_is_done() {
    let tracker = tracker();
    let before = tracker.opened("1", "low").await;
    tracker.rules.define("say", say("first")).await.unwrap();
    let first = tracker.opened("2", "low").await;
    tracker.rules.change("say", say("second")).await.unwrap();
    let second = tracker.opened("3", "low").await;
    tracker.rules.disable("say").await.unwrap();
    let disabled = tracker.opened("4", "low").await;
    tracker.rules.enable("say").await.unwrap();
    let enabled = tracker.opened("5", "low").await;
    tracker.rules.remove("say").await.unwrap();
    let removed = tracker.opened("6", "low").await;

    // Late, and not in their order.
    for event in [&second, &removed, &first, &enabled, &before, &disabled] {
        tracker.deliver(event).await.unwrap();
    }
    assert_eq!(tracker.said(), ["second", "first", "second"]);
    let versions: Vec<_> = tracker
        .executions()
        .await
        .iter()
        .map(|one| (one.event.clone(), one.rule_version))
        .collect();
    let expected = [(&second, 2), (&first, 1), (&enabled, 4)];
    assert_eq!(versions, expected.map(|(event, version)| (event.id.to_string(), version)));
}

#[tokio::test]
async fn a_change_is_seen_by_a_process_that_knew_the_rule_before_it() {
    let tracker = tracker();
    tracker.rules.define("say", say("first")).await.unwrap();
    let event = tracker.opened("1", "low").await;
    tracker.deliver(&event).await.unwrap();
    // Somebody else, with a handle of their own.
    let other = Rules::new(
        Annals::new(tracker.store.clone()),
        Actions::new().on("say", |_: serde_json::Value, _| async { Ok(()) }),
    );
    other.change("say", say("second")).await.unwrap();
    let event = tracker.opened("2", "low").await;
    tracker.deliver(&event).await.unwrap();
    assert_eq!(tracker.said(), ["first", "second"]);
}

#[tokio::test]
async fn a_rule_whose_action_this_program_does_not_have_fails_and_says_so() {
    let tracker = tracker();
    tracker.rules.define("say", say("first")).await.unwrap();
    let event = tracker.opened("1", "low").await;
    let older = Rules::new(tracker.app.clone(), Actions::new());
    deliver_to(&older, &event).await.unwrap();
    let execution = tracker.executions().await.remove(0);
    assert_eq!(
        execution.actions[0].error.as_deref(),
        Some("there is no action say; register it, or change the rule")
    );
}

#[tokio::test]
async fn an_event_that_the_log_does_not_have_yet_is_tried_again() {
    let tracker = tracker();
    tracker.rules.define("say", say("first")).await.unwrap();
    let mut event = tracker.opened("1", "low").await;
    event.position = annals::Position::new(event.position.get() + 1);
    let error = tracker.deliver(&event).await.unwrap_err();
    assert_eq!(error.kind(), annals::ReactErrorKind::Transient);
    assert!(tracker.said().is_empty());
}
