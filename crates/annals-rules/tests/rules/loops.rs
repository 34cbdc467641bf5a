//! Rules because of rules.

use annals_rules::{Definition, Outcome, Rules};
use serde_json::json;

use crate::tracker::{IssueEvent, tracker, tracker_with};

fn comment_on(event_type: &str) -> Definition {
    let arguments = json!({ "issue": "=event.stream_id", "text": "again" });
    Definition::new("Comment").on(event_type).then("comment", arguments)
}

fn assign_on(event_type: &str) -> Definition {
    let arguments = json!({ "issue": "=event.stream_id", "to": "ada" });
    Definition::new("Assign").on(event_type).then("assign", arguments)
}

#[tokio::test]
async fn two_rules_that_lead_to_each_other_stop_at_the_limit() {
    let tracker = tracker_with(|rules| rules.depth_max(5));
    tracker.rules.define("ping", comment_on("IssueAssigned")).await.unwrap();
    tracker.rules.define("pong", assign_on("CommentAdded")).await.unwrap();
    tracker.happens("1", IssueEvent::CommentAdded { text: "go".to_owned() }).await;
    tracker.deliver_all().await;

    let outcomes = tracker.outcomes().await;
    let fired = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Fired).count();
    assert_eq!((fired, outcomes.len()), (5, 6), "{outcomes:?}");
    assert_eq!(outcomes[5], ("ping".to_owned(), Outcome::TooDeep));
    let error = tracker.executions().await.pop().unwrap().error.unwrap();
    assert_eq!(error, "5 rules led to this event, one because of the other; at most 5 may");
    assert_eq!(tracker.log().await.len(), 2 + 1 + 5 + 6);
}

#[tokio::test]
async fn a_rule_does_not_look_at_what_came_of_itself_unless_it_says_so() {
    let tracker = tracker();
    tracker.rules.define("once", comment_on("CommentAdded")).await.unwrap();
    tracker.happens("1", IssueEvent::CommentAdded { text: "go".to_owned() }).await;
    tracker.deliver_all().await;
    assert_eq!(tracker.outcomes().await, [("once".to_owned(), Outcome::Fired)]);

    tracker.rules.change("once", comment_on("CommentAdded").also_by_itself()).await.unwrap();
    tracker.happens("2", IssueEvent::CommentAdded { text: "go".to_owned() }).await;
    tracker.deliver_all().await;
    let outcomes = tracker.outcomes().await;
    assert_eq!(outcomes.len(), 1 + Rules::DEPTH_MAX as usize + 1, "{outcomes:?}");
    assert_eq!(outcomes.last().unwrap().1, Outcome::TooDeep);
}

#[tokio::test]
async fn executions_trigger_only_the_rules_that_name_them() {
    let tracker = tracker();
    tracker.rules.define("comment", comment_on("IssueOpened")).await.unwrap();
    let watch = Definition::new("Watch")
        .on("RuleExecuted")
        .then("say", json!({ "text": "=event.data.rule + ' ' + event.data.outcome" }));
    tracker.rules.define("watch", watch).await.unwrap();
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;
    assert_eq!(tracker.said(), ["comment fired"]);
}

#[tokio::test]
async fn rules_that_watch_each_other_come_to_an_end() {
    let tracker = tracker();
    tracker.rules.define("comment", comment_on("IssueOpened")).await.unwrap();
    for id in ["watch_a", "watch_b"] {
        let watch = Definition::new(id).on("RuleExecuted").then("say", json!({ "text": id }));
        tracker.rules.define(id, watch).await.unwrap();
    }
    tracker.opened("1", "low").await;
    tracker.deliver_all().await;
    // The one rule, then two watchers of it in turn, as far as it goes, and that it went too far.
    let outcomes = tracker.outcomes().await;
    let too_deep = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::TooDeep).count();
    assert_eq!((outcomes.len(), too_deep), (1 + 2 * 7 + 2, 2), "{outcomes:?}");
}

#[tokio::test]
async fn a_depth_that_somebody_made_up_is_the_end_and_no_overflow() {
    let tracker = tracker();
    tracker.rules.define("comment", comment_on("IssueAssigned")).await.unwrap();
    let deep = annals::Context::new().with("rule_depth", u64::MAX);
    let event = IssueEvent::IssueAssigned { to: "bob".to_owned() };
    deep.scope(tracker.happens("1", event)).await;
    tracker.deliver_all().await;
    assert_eq!(tracker.outcomes().await, [("comment".to_owned(), Outcome::TooDeep)]);
}
