//! Which version of a rule looks at an event.

use std::sync::Arc;

use annals::{Annals, Append, Event, EventStore, ExpectedVersion, ReactErrorKind, StreamId};
use annals_rules::{Actions, Definition, Outcome, RuleEvent, Rules};
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
    )
    .unwrap();
    other.change("say", say("second")).await.unwrap();
    let event = tracker.opened("2", "low").await;
    tracker.deliver(&event).await.unwrap();
    assert_eq!(tracker.said(), ["first", "second"]);
}

#[tokio::test]
async fn an_action_that_an_older_program_does_not_have_is_left_to_the_newer_one() {
    let tracker = tracker();
    let rule = say("first").then("comment", json!({ "issue": "1", "text": "hm" }));
    tracker.rules.define("say", rule).await.unwrap();
    let event = tracker.opened("1", "low").await;
    let said = Arc::clone(&tracker.said);
    let only_say = Actions::new().on("say", move |_: serde_json::Value, _| {
        said.lock().unwrap().push("said by the older".to_owned());
        async { Ok(()) }
    });
    let older = Rules::new(tracker.app.clone(), only_say).unwrap();
    let error = deliver_to(&older, &event).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    assert_eq!(
        error.source().to_string(),
        "this program has no action comment; retry the delivery where it is there, or skip it"
    );
    assert!(tracker.executions().await.is_empty());
    assert!(tracker.said().is_empty(), "of what it cannot do it does no part");

    tracker.deliver(&event).await.unwrap();
    assert_eq!(tracker.said(), ["first"]);
    assert_eq!(tracker.outcomes().await, [("say".to_owned(), Outcome::Fired)]);
}

#[tokio::test]
async fn an_expression_that_an_older_program_does_not_understand_is_left_to_the_newer_one() {
    let tracker = tracker();
    // No program has this function yet.
    let rule = say("first").when("newly_made(event)");
    let defined = RuleEvent::RuleDefined(rule).encode().unwrap();
    let stream = StreamId::of("rule", "say").unwrap();
    tracker.store.append(Append::to(stream, ExpectedVersion::Any, [defined])).await.unwrap();
    let event = tracker.opened("1", "low").await;
    let error = tracker.deliver(&event).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    let said = error.source().to_string();
    assert!(said.contains("calls newly_made, which is not there"), "{said}");
    assert!(said.contains("retry the delivery where it is there, or skip it"), "{said}");
    assert!(tracker.executions().await.is_empty());
}

#[tokio::test]
async fn an_event_that_the_log_does_not_have_yet_is_tried_again() {
    let tracker = tracker();
    tracker.rules.define("say", say("first")).await.unwrap();
    let mut event = tracker.opened("1", "low").await;
    event.position = annals::Position::new(event.position.get() + 1);
    let error = tracker.deliver(&event).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    assert!(tracker.said().is_empty());
}
