//! What rules do when their conditions are met, and when something goes wrong.

use annals::Metadata;
use annals_rules::{ActionOutcome, Definition, Outcome};
use serde_json::json;

use crate::tracker::{IssueEvent, tracker, tracker_with};

fn assign_urgent() -> Definition {
    Definition::new("Give what is urgent to whoever is on call")
        .on("IssueOpened")
        .when("event.data.priority == 'urgent'")
        .then("assign", json!({ "issue": "=event.stream_id", "to": "ada" }))
}

#[tokio::test]
async fn a_rule_does_its_actions_when_its_condition_is_met_and_only_then() {
    let tracker = tracker();
    tracker.rules.define("urgent", assign_urgent()).await.unwrap();
    tracker.opened("1", "low").await;
    tracker.opened("2", "urgent").await;
    tracker.deliver_all().await;

    assert_eq!(tracker.assignee("1").await, None);
    assert_eq!(tracker.assignee("2").await.as_deref(), Some("ada"));
    assert_eq!(tracker.outcomes().await, [("urgent".to_owned(), Outcome::Fired)]);
}

#[tokio::test]
async fn what_a_rule_does_says_so_in_its_metadata() {
    let tracker = tracker();
    tracker.rules.define("urgent", assign_urgent()).await.unwrap();
    let opened = tracker.opened("2", "urgent").await;
    tracker.deliver_all().await;

    let log = tracker.log().await;
    for event in &log[2..] {
        let said = |key| event.metadata.get(key).unwrap();
        assert_eq!(said(Metadata::ACTOR), "rule:urgent", "{event:?}");
        assert_eq!(said(Metadata::REASON), "Give what is urgent to whoever is on call");
        assert_eq!(said(Metadata::CAUSATION), json!(opened.id));
        assert_eq!((said("rule"), said("rule_version")), (json!("urgent"), json!(1)));
        assert_eq!(said("rule_depth"), 1);
    }
    assert_eq!(log.len(), 4, "{log:?}");
}

#[tokio::test]
async fn texts_that_begin_with_an_equals_sign_are_expressions() {
    let tracker = tracker();
    let say = |text: &str| json!({ "text": text });
    let rule = Definition::new("Say")
        .on("IssueOpened")
        .then("say", say("=event.data.title + '!'"))
        .then("say", say("==1"))
        .then("say", say("1 = 1"))
        .then("say", say("=event.category + string(event.version) + event.type"));
    tracker.rules.define("say", rule).await.unwrap();
    tracker.opened("7", "low").await;
    tracker.deliver_all().await;
    assert_eq!(tracker.said(), ["It smokes in 7!", "=1", "1 = 1", "issue1IssueOpened"]);
}

#[tokio::test]
async fn rules_go_in_their_order_then_in_that_of_their_ids() {
    let tracker = tracker();
    for (id, order) in [("c", 0), ("a", 5), ("b", 0), ("d", -1)] {
        let rule = Definition::new(id).on("IssueOpened").order(order);
        tracker.rules.define(id, rule.then("say", json!({ "text": id }))).await.unwrap();
    }
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;
    assert_eq!(tracker.said(), ["d", "b", "c", "a"]);
}

#[tokio::test]
async fn what_cannot_be_evaluated_is_recorded_and_nothing_is_done() {
    let tracker = tracker();
    let rule = |condition: &str| {
        let rule = Definition::new("Odd").on("IssueOpened").when(condition);
        rule.then("say", json!({ "text": "=event.data.title" }))
    };
    tracker.rules.define("missing", rule("event.data.severity > 3")).await.unwrap();
    tracker.rules.define("no_answer", rule("event.data.title")).await.unwrap();
    tracker.rules.define("has", rule("has(event.data.severity)")).await.unwrap();
    let no_text = rule("true").then("say", json!({ "text": "=event.data.nothing" }));
    tracker.rules.define("template", no_text).await.unwrap();
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;

    let executions = tracker.executions().await;
    let failed: Vec<_> = executions.iter().map(|one| (&*one.rule, one.outcome)).collect();
    let all = ["missing", "no_answer", "template"].map(|rule| (rule, Outcome::Failed));
    assert_eq!(failed, all, "a field that `has` asks for may be missing");
    let errors: Vec<_> = executions.iter().map(|one| one.error.as_deref().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "the condition: No such key: severity",
            "the condition is neither true nor false",
            "the arguments of actions[1]: No such key: nothing",
        ]
    );
    assert!(tracker.said().is_empty());
}

#[tokio::test]
async fn an_action_that_fails_for_good_stops_those_behind_it_unless_the_rule_goes_on() {
    let tracker = tracker();
    let rule = Definition::new("Assign and say")
        .on("IssueOpened")
        .then("assign", json!({ "issue": "=event.stream_id", "to": "nobody" }))
        .then("say", json!({ "text": "done" }));
    tracker.rules.define("a_stops", rule.clone()).await.unwrap();
    tracker.rules.define("b_goes_on", rule.continue_on_failure()).await.unwrap();
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;

    let [stopped, went_on] = &tracker.executions().await[..] else { panic!("two executions") };
    let outcomes = |execution: &annals_rules::Execution| {
        assert_eq!(execution.outcome, Outcome::Failed);
        assert_eq!(execution.error.as_deref(), Some("the action assign failed"));
        assert_eq!(execution.actions[0].error.as_deref(), Some("nobody is called nobody"));
        execution.actions.iter().map(|done| done.outcome).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(stopped), [ActionOutcome::Failed, ActionOutcome::Skipped]);
    assert_eq!(outcomes(went_on), [ActionOutcome::Failed, ActionOutcome::Done]);
    assert_eq!(tracker.said(), ["done"]);
}

#[tokio::test]
async fn conditions_that_are_not_met_are_recorded_when_that_is_asked_for() {
    let tracker = tracker_with(annals_rules::Rules::recording_not_met);
    tracker.rules.define("urgent", assign_urgent()).await.unwrap();
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;
    assert_eq!(tracker.outcomes().await, [("urgent".to_owned(), Outcome::NotMet)]);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_not_looked_at() {
    let tracker = tracker();
    let rule = Definition::new("Say").on("CommentAdded").then("say", json!({ "text": "x" }));
    tracker.rules.define("say", rule).await.unwrap();
    let text = "x".repeat(300_000);
    tracker.happens("1", IssueEvent::CommentAdded { text }).await;
    tracker.deliver_all().await;
    let error = tracker.executions().await.remove(0).error.unwrap();
    assert!(error.starts_with("the event's data have 300011 bytes"), "{error}");
    assert!(tracker.said().is_empty());
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let tracker = tracker();
    tracker.opened("1", "low").await;
    tracker.opened("2", "urgent").await;
    tracker.happens("2", IssueEvent::CommentAdded { text: "hm".to_owned() }).await;
    let log = tracker.log().await;

    let would = tracker.rules.dry_run(&assign_urgent(), &log).await.unwrap();
    let outcomes: Vec<_> = would.iter().map(|one| (one.event, one.outcome)).collect();
    assert_eq!(outcomes, [(log[0].id, Outcome::NotMet), (log[1].id, Outcome::Fired)]);
    assert_eq!(would[1].actions, [("assign".to_owned(), json!({ "issue": "2", "to": "ada" }))]);
    assert_eq!(tracker.log().await.len(), 3);
}
