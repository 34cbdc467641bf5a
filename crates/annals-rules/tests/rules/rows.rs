//! Rows of read models in rules.

use annals::{
    Annals, Keys, MemoryReadSide, Projection, ReadModel, ReadSideError, RecordedEvent, RowKey,
};
use annals_rules::{Definition, Model, Models, Outcome};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::tracker::{IssueEvent, deliver_to, tracker_with};

#[derive(Clone)]
struct Issues;

#[derive(Serialize, Deserialize)]
struct IssueRow {
    title: String,
    assignee: Option<String>,
}

impl Projection for Issues {
    type Event = IssueEvent;
    type Row = IssueRow;
    const NAME: &'static str = "issues";

    fn keys(&self) -> Keys<IssueEvent> {
        Keys::stream_id()
    }

    fn apply(
        &self,
        _: &RowKey,
        row: Option<IssueRow>,
        event: &IssueEvent,
        _: &RecordedEvent,
    ) -> Option<IssueRow> {
        match event {
            IssueEvent::IssueOpened { title, .. } => {
                Some(IssueRow { title: title.clone(), assignee: None })
            }
            IssueEvent::IssueAssigned { to } => {
                row.map(|row| IssueRow { assignee: Some(to.clone()), ..row })
            }
            IssueEvent::CommentAdded { .. } => row,
        }
    }
}

#[tokio::test]
async fn a_rule_looks_at_the_row_of_a_read_model() {
    let issues = ReadModel::new(Issues, MemoryReadSide::new());
    let tracker =
        tracker_with(|rules| rules.with_models(Models::new().with("issues", issues.clone())));
    let rule = Definition::new("Nobody has it")
        .on("CommentAdded")
        .lookup("issue", "issues", "event.stream_id")
        .when("issue != null && issue.assignee == null")
        .then("say", json!({ "text": "='Nobody has ' + issue.title" }));
    tracker.rules.define("nobody", rule).await.unwrap();
    let comment = || IssueEvent::CommentAdded { text: "hm".to_owned() };
    tracker.opened("1", "low").await;
    tracker.opened("2", "low").await;
    tracker.happens("2", IssueEvent::IssueAssigned { to: "ada".to_owned() }).await;
    for issue in ["1", "2", "3"] {
        tracker.happens(issue, comment()).await;
    }
    let running = Annals::new(tracker.store.clone()).project(issues).start();
    let head = tracker.log().await.last().unwrap().position;
    running.wait_for(head, std::time::Duration::from_secs(10)).await.unwrap();
    tracker.deliver_all().await;
    assert_eq!(tracker.said(), ["Nobody has It smokes in 1"]);
    assert_eq!(tracker.outcomes().await, [("nobody".to_owned(), Outcome::Fired)]);
    running.stop().await;
}

#[tokio::test]
async fn a_read_model_that_an_older_program_does_not_have_is_left_to_the_newer_one() {
    let tracker = tracker_with(|rules| rules.with_models(Models::new().with("odd", Odd)));
    let rule = Definition::new("Odd").on("IssueOpened").lookup("row", "odd", "event.stream_id");
    let rule = rule.then("say", json!({ "text": "=row.key" }));
    tracker.rules.define("odd", rule).await.unwrap();
    let event = tracker.opened("7", "low").await;
    let older = tracker.rules.clone().with_models(Models::new());
    let error = deliver_to(&older, &event).await.unwrap_err();
    assert_eq!(error.kind(), annals::ReactErrorKind::Transient);
    let said = error.source().source().unwrap().to_string();
    let expected = "this program has no read model odd; retry the delivery where it is there";
    assert!(said.contains(expected), "{said}");
    assert!(tracker.executions().await.is_empty());

    tracker.deliver(&event).await.unwrap();
    assert_eq!(tracker.said(), ["7"]);
}

/// Rows of which there may be none to be had.
struct Odd;

#[async_trait]
impl Model for Odd {
    async fn row(&self, key: &str) -> Result<Option<Value>, ReadSideError> {
        match key {
            "away" => Err(ReadSideError::Unavailable(annals::Fault::new("asking for a row"))),
            "large" => Ok(Some(json!("x".repeat(300_000)))),
            key => Ok(Some(json!({ "key": key }))),
        }
    }
}

#[tokio::test]
async fn a_read_model_that_does_not_answer_fails_the_delivery_and_odd_rows_fail_the_rule() {
    let tracker = tracker_with(|rules| rules.with_models(Models::new().with("odd", Odd)));
    let rule = Definition::new("Odd").on("IssueOpened").lookup("row", "odd", "event.data.priority");
    let rule = rule.then("say", json!({ "text": "=row.key" }));
    tracker.rules.define("odd", rule.clone()).await.unwrap();
    let numbered = rule.lookup("row", "odd", "event.version + 1");
    tracker.rules.define("numbered", numbered.clone()).await.unwrap();
    let no_key = numbered.lookup("row", "odd", "event.tags");
    tracker.rules.define("no_key", no_key).await.unwrap();

    let event = tracker.opened("1", "away").await;
    let error = tracker.deliver(&event).await.unwrap_err();
    assert_eq!(error.kind(), annals::ReactErrorKind::Transient);
    let event = tracker.opened("2", "large").await;
    tracker.deliver(&event).await.unwrap();

    let executions = tracker.executions().await;
    let errors: Vec<_> = executions.iter().map(|one| (&*one.rule, one.error.as_deref())).collect();
    let no_key = Some("the row row: its key is neither text nor a number");
    let large = Some("the row row: has 300002 bytes; rules look at no more than 262144");
    let first = [("no_key", no_key), ("numbered", None)];
    let second = [("no_key", no_key), ("numbered", None), ("odd", large)];
    assert_eq!(errors, [&first[..], &second].concat());
    assert_eq!(tracker.said(), ["2", "2"]);
}
