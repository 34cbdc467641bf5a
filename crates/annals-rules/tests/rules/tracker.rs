//! An issue tracker, and deliveries to its rules made by hand.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use annals::{
    Aggregate, Annals, Apply, Command, DeliveryId, Event, EventStoreExt, ManualClock, MemoryStore,
    Position, ReactError, Reacting, Reactor, Read, RecordedEvent, SubscriberName, Timestamp,
};
use annals_rules::{Actions, Because, Execution, ExecutionEvent, Outcome, Rules};
use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum IssueEvent {
    IssueOpened { title: String, priority: String },
    IssueAssigned { to: String },
    CommentAdded { text: String },
}

#[derive(Default, Aggregate)]
#[aggregate(category = "issue", event = IssueEvent)]
pub(crate) struct Issue {
    pub(crate) assignee: Option<String>,
    pub(crate) comments: u32,
}

impl Apply<IssueEvent> for Issue {
    fn apply(&mut self, event: IssueEvent) {
        match event {
            IssueEvent::IssueOpened { .. } => {}
            IssueEvent::IssueAssigned { to } => self.assignee = Some(to),
            IssueEvent::CommentAdded { .. } => self.comments += 1,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Happens(pub(crate) IssueEvent);

#[derive(Debug, thiserror::Error)]
#[error("nobody is called {0}")]
pub(crate) struct Nobody(String);

impl Command<Issue> for Happens {
    type Error = Nobody;

    fn decide(self, _: &Issue) -> Result<Vec<IssueEvent>, Nobody> {
        match self.0 {
            IssueEvent::IssueAssigned { to } if to == "nobody" => Err(Nobody(to)),
            event => Ok(vec![event]),
        }
    }
}

#[derive(Deserialize)]
struct Assign {
    issue: String,
    to: String,
}

#[derive(Deserialize)]
struct Comment {
    issue: String,
    text: String,
}

/// The tracker with its rules, and what its actions did besides commands.
pub(crate) struct Tracker {
    pub(crate) store: MemoryStore,
    pub(crate) app: Annals,
    pub(crate) rules: Rules,
    /// What was said by the action `say`.
    pub(crate) said: Arc<Mutex<Vec<String>>>,
    /// How often the action `flaky` fails from now on.
    pub(crate) failures: Arc<AtomicU32>,
    delivered: Mutex<Position>,
}

pub(crate) fn tracker() -> Tracker {
    tracker_with(|rules| rules)
}

pub(crate) fn tracker_with(more: impl FnOnce(Rules) -> Rules) -> Tracker {
    let store = MemoryStore::new();
    let app = Annals::new(store.clone());
    let said = Arc::new(Mutex::new(Vec::new()));
    let failures = Arc::new(AtomicU32::new(0));
    let rules = Rules::new(app.clone(), actions(&app, &said, &failures))
        .unwrap()
        .with_clock(ManualClock::at(Timestamp::EPOCH));
    Tracker { rules: more(rules), store, app, said, failures, delivered: Mutex::default() }
}

fn actions(app: &Annals, said: &Arc<Mutex<Vec<String>>>, failures: &Arc<AtomicU32>) -> Actions {
    let (assigning, commenting) = (app.clone(), app.clone());
    let (said, failures) = (Arc::clone(said), Arc::clone(failures));
    Actions::new()
        .on("assign", move |Assign { issue, to }, because: Because| {
            let app = assigning.clone();
            let command = Happens(IssueEvent::IssueAssigned { to });
            async move { because.execute::<Issue, _>(&app, issue, command).await }
        })
        .on("comment", move |Comment { issue, text }, because: Because| {
            let app = commenting.clone();
            let command = Happens(IssueEvent::CommentAdded { text });
            async move { because.execute::<Issue, _>(&app, issue, command).await }
        })
        .on("say", move |arguments: serde_json::Value, _: Because| {
            said.lock().unwrap().push(arguments["text"].as_str().unwrap_or("?").to_owned());
            async { Ok(()) }
        })
        .on("flaky", move |_: serde_json::Value, _: Because| {
            let failed = failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
            async move {
                match failed {
                    true => Err(ReactError::transient("the line is busy")),
                    false => Ok(()),
                }
            }
        })
}

impl Tracker {
    /// Lets something happen to an issue, and gives the event.
    pub(crate) async fn happens(&self, issue: &str, event: IssueEvent) -> RecordedEvent {
        self.app.execute::<Issue, _>(issue, Happens(event)).await.unwrap();
        self.log().await.pop().unwrap()
    }

    pub(crate) async fn opened(&self, issue: &str, priority: &str) -> RecordedEvent {
        let title = format!("It smokes in {issue}");
        self.happens(issue, IssueEvent::IssueOpened { title, priority: priority.to_owned() }).await
    }

    pub(crate) async fn deliver(&self, event: &RecordedEvent) -> Result<(), ReactError> {
        deliver_to(&self.rules, event).await
    }

    /// Delivers whatever was not delivered yet, and what comes of that, in order.
    pub(crate) async fn deliver_all(&self) {
        loop {
            let after = *self.delivered.lock().unwrap();
            let events = self.store.read_to_end(Read::all().after(after)).await.unwrap();
            let Some(last) = events.last() else { return };
            *self.delivered.lock().unwrap() = last.position;
            assert!(last.position.get() < 500, "this does not end");
            for event in &events {
                self.deliver(event).await.unwrap();
            }
        }
    }

    pub(crate) async fn log(&self) -> Vec<RecordedEvent> {
        self.store.read_to_end(Read::all()).await.unwrap()
    }

    /// Every execution that was recorded, in order.
    pub(crate) async fn executions(&self) -> Vec<Execution> {
        let mut executions = Vec::new();
        for recorded in self.log().await {
            if recorded.event_type.as_str() == "RuleExecuted" {
                for event in ExecutionEvent::decode(&recorded).unwrap() {
                    let ExecutionEvent::RuleExecuted(execution) = event else {
                        panic!("{event:?}")
                    };
                    executions.push(execution);
                }
            }
        }
        executions
    }

    /// Of which rule what became, in order.
    pub(crate) async fn outcomes(&self) -> Vec<(String, Outcome)> {
        self.executions().await.into_iter().map(|one| (one.rule, one.outcome)).collect()
    }

    pub(crate) async fn assignee(&self, issue: &str) -> Option<String> {
        self.app.load::<Issue>(issue).await.unwrap().state.assignee
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

pub(crate) async fn deliver_to(rules: &Rules, event: &RecordedEvent) -> Result<(), ReactError> {
    let id = DeliveryId::new(&SubscriberName::from_static("rules"), event.id, None);
    rules.reactor().react(&Reacting::new(id, 1, None, event.clone())).await
}
