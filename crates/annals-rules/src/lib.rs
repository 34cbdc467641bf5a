//! Automation rules: what is done when something happens, written while the program runs.
//!
//! A rule says when, if and then: which types of events it looks at, a condition in the
//! [Common Expression Language](https://cel.dev), and actions, which the program has registered
//! under names. [`Rules`] keeps the rules as events in the log, so who changed what and when is
//! their [history](annals::Annals::history), and applies them as an [inbox](Rules::inbox).
//!
//! An issue tracker that gives what is urgent to whoever is on call, and escalates what nobody has:
//!
//! ```
//! use annals::{Annals, Context, DeliveryId, EventStoreExt, MemoryStore, Reacting, Reactor, Read};
//! use annals::{SubscriberName, types};
//! use annals_rules::{Actions, Because, Definition, Rules};
//! use serde_json::json;
//! # use annals::{Aggregate, Apply, Command, Event};
//!
//! #[derive(Clone, Event)]
//! enum IssueEvent {
//!     IssueOpened { title: String, priority: String },
//!     IssueAssigned { to: String },
//!     IssueEscalated,
//! }
//! # #[derive(Default, Aggregate)] #[aggregate(category = "issue", event = IssueEvent)]
//! # struct Issue { assignee: Option<String> }
//! # impl Apply<IssueEvent> for Issue {
//! #     fn apply(&mut self, event: IssueEvent) {
//! #         if let IssueEvent::IssueAssigned { to } = event { self.assignee = Some(to) }
//! #     }
//! # }
//! # #[derive(Clone)] struct Happens(IssueEvent);
//! # impl Command<Issue> for Happens {
//! #     type Error = std::convert::Infallible;
//! #     fn decide(self, _: &Issue) -> Result<Vec<IssueEvent>, Self::Error> { Ok(vec![self.0]) }
//! # }
//! # use Happens as AssignTo;
//!
//! #[derive(serde::Deserialize)]
//! struct Assign {
//!     issue: String,
//!     to: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let tracker = Annals::new(store.clone());
//! let app = tracker.clone();
//! let actions = Actions::new().on("assign", move |assign: Assign, because: Because| {
//!     let (app, command) = (app.clone(), AssignTo(IssueEvent::IssueAssigned { to: assign.to }));
//!     async move { because.execute::<Issue, _>(&app, assign.issue, command).await }
//! });
//! let rules = Rules::new(tracker.clone(), actions)?.triggered_by(types!(IssueEvent));
//!
//! let on_call = Definition::new("What is urgent goes to whoever is on call")
//!     .on("IssueOpened")
//!     .when("event.data.priority == 'urgent'")
//!     .then("assign", json!({ "issue": "=event.stream_id", "to": "ada" }));
//! Context::new().actor("eve").scope(rules.define("on_call", on_call)).await?;
//!
//! let title = "It smokes".to_owned();
//! let opened = Happens(IssueEvent::IssueOpened { title, priority: "urgent".to_owned() });
//! tracker.execute::<Issue, _>("7", opened).await?;
//!
//! // In a program: `tracker.inboxes(read_side).inbox(rules.inbox("rules")).start().await?`
//! for event in store.read_to_end(Read::all()).await? {
//!     let delivery = DeliveryId::new(&SubscriberName::from_static("rules"), event.id, None);
//!     rules.reactor().react(&Reacting::new(delivery, 1, None, event)).await.unwrap();
//! }
//! assert_eq!(tracker.load::<Issue>("7").await?.state.assignee.as_deref(), Some("ada"));
//! # Ok(()) }
//! ```
//!
//! # Expressions
//!
//! In conditions, in keys of rows, and in texts of arguments that begin with `=`:
//!
//! - `event` has `id`, `type`, `schema_version`, `stream`, `stream_id`, `category`, `version`,
//!   `position`, `recorded_at`, `occurred_at` (text as in RFC 3339), `tags` (a list) and `data`;
//!   `data` is `null` when it is not JSON.
//! - `metadata` has `actor`, `reason`, `correlation`, `causation` and what the application adds.
//! - Each [lookup](Definition::lookup) is a row of a read model as it is *now*, or `null`.
//!
//! There are the operators and macros of the language (`has`, `all`, `exists`, `exists_one`,
//! `filter`, `map`), conversions, `size`, `contains`, `startsWith` and `endsWith`; no regular
//! expressions, no dates, no optional values. Whole numbers of JSON are `int`. What may be missing
//! is asked for first: `has(event.data.assignee)`, or `issue != null`. What cannot be evaluated is
//! recorded as failed, and nothing is done.
//!
//! An expression is bounded: 2048 bytes, 500 nodes, 64 deep; and all that a rule evaluates for one
//! event takes at most 100 000 steps, where a loop pays for every element and a text for every 64
//! bytes. It depends on nothing but the values, so it is the same again each time. Data, metadata
//! and rows of more than 256 KiB are not looked at.
//!
//! # What it guarantees
//!
//! An event is looked at by the rules that were **in force when it was recorded**: of each rule the
//! version that its last event before this one made, however late the delivery is. A rule never
//! looks at what was recorded before it.
//!
//! What a rule did is recorded as [`RuleExecuted`](ExecutionEvent::RuleExecuted) in
//! `rule_execution-id`, once for each delivery; conditions that are not met only when that is
//! [asked for](Rules::recording_not_met). A delivery that comes again passes over the rules that
//! it has recorded. Between the action and the record the process may die: what is executed with
//! [`Because::execute`] happens once all the same, and what an action does elsewhere may happen
//! again.
//!
//! When an action fails transiently the delivery fails, and is tried again as the inbox says; the
//! other rules are not held up. When it fails for good, that is recorded, and the delivery is made.
//! What this program lacks, another may have, such as the one that is being deployed: a rule with an
//! action, a read model or a function that is not there fails the delivery before any of its actions
//! is done, and is there to be retried as long as nobody skips it.
//!
//! Whatever an action records says in its metadata which rule did it (`rule`, `rule_version`) and
//! how many rules led there, one because of the other (`rule_depth`). A rule looks at what came of
//! itself only if its definition [says so](Definition::also_by_itself), and beyond
//! [a depth](Rules::depth_max) of 8 no rule does anything, which is recorded once. Rules do not see
//! through what others do in between: what a reactor records because of a rule's event begins anew,
//! unless it hands on `rule_depth`.

mod actions;
mod compiled;
mod definition;
mod execution;
mod expression;
mod in_force;
mod models;
mod reactor;
mod rule;
mod rules;
mod variables;

pub use actions::{Actions, Because};
pub use definition::{Action, Definition, Lookup, OnFailure};
pub use execution::{ActionOutcome, Done, Execution, ExecutionEvent, Outcome};
pub use models::{Model, Models};
pub use reactor::RuleReactor;
pub use rule::{Rule, RuleEvent, RuleRefusal};
pub use rules::{DryRunError, Rules, WouldDo};
