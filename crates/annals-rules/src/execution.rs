//! What became of a rule because of an event, and how it is recorded.

use std::collections::HashSet;

use annals::{
    Annals, Append, AppendError, Context, Event, EventId, EventStoreExt, ExpectedVersion,
    LoadError, Query, QueryItem, Reacting, Read, StreamId, Tag, Version, types,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::in_force::RuleVersion;

/// The key of the tag that all executions because of one delivery have.
const DELIVERY_TAG: &str = "rule_delivery";

/// What rules record.
#[derive(Clone, Debug, PartialEq, Event)]
#[non_exhaustive]
pub enum ExecutionEvent {
    /// A rule looked at an event; in the stream `rule_execution-id`.
    RuleExecuted(Execution),
}

/// What became of a rule because of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Execution {
    /// The rule's id.
    pub rule: String,
    /// Which version of the rule's stream was in force.
    pub rule_version: u64,
    /// The id of the event that it looked at.
    pub event: String,
    /// The type of that event.
    pub event_type: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What went wrong, when something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done, in the order in which it was to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Done>,
    /// How long the last attempt took, in microseconds.
    pub duration_micros: u64,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The condition was met, and every action was done.
    Fired,
    /// The condition was not met.
    NotMet,
    /// Something could not be evaluated, and nothing was done; or an action failed for good.
    Failed,
    /// The condition was met, but too many rules had led to the event one because of the other.
    /// Nothing was done.
    TooDeep,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Done {
    /// The action's name.
    pub name: String,
    /// What became of it.
    pub outcome: ActionOutcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionOutcome {
    /// It was done.
    Done,
    /// It failed for good.
    Failed,
    /// It was not tried, because one before it had failed.
    Skipped,
}

/// What a rule came to, before it is recorded.
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<String>,
    pub(crate) actions: Vec<Done>,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, error: None, actions: Vec::new() }
    }
}

impl Verdict {
    pub(crate) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::from(Outcome::Failed) }
    }

    pub(crate) fn into_execution(
        self,
        rule: &RuleVersion,
        reacting: &Reacting,
        duration_micros: u64,
    ) -> Execution {
        let Self { outcome, error, actions } = self;
        Execution {
            rule: rule.id.to_string(),
            rule_version: rule.version.get(),
            event: reacting.event().id.to_string(),
            event_type: reacting.event().event_type.to_string(),
            outcome,
            error,
            actions,
            duration_micros,
        }
    }
}

/// Records it in the context that is around. However often, it is recorded once for each rule and
/// delivery: the first time.
pub(crate) async fn record(
    annals: &Annals,
    reacting: &Reacting,
    execution: Execution,
) -> Result<(), RecordingError> {
    let id = hash_of(&reacting.command_id(&execution.rule));
    let stream = StreamId::of("rule_execution", &execution.rule)?;
    let event = ExecutionEvent::RuleExecuted(execution).encode()?;
    let mut first = [0; 16];
    first.copy_from_slice(&id[..16]);
    let event = event
        .with_id(EventId::from_bytes(first))
        .with_metadata(Context::current().metadata())
        .tagged(tag_of(reacting));
    annals.store().append(Append::to(stream, ExpectedVersion::Any, [event])).await?;
    Ok(())
}

/// The rules that have been executed because of this delivery, in an attempt before this.
pub(crate) async fn executed(
    annals: &Annals,
    reacting: &Reacting,
) -> Result<HashSet<(String, Version)>, LoadError> {
    let query = QueryItem::new().types(types!(ExecutionEvent)).tag(tag_of(reacting));
    let mut rules = HashSet::new();
    for recorded in annals.store().read_to_end(Read::query(Query::of(query))).await? {
        for ExecutionEvent::RuleExecuted(execution) in ExecutionEvent::decode(&recorded)? {
            rules.insert((execution.rule, Version::new(execution.rule_version)));
        }
    }
    Ok(rules)
}

/// Why an execution is not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Encode(#[from] annals::EncodeError),
    #[error(transparent)]
    Name(#[from] annals::InvalidName),
}

/// The hash, because a delivery's id may be longer than a tag.
fn tag_of(reacting: &Reacting) -> Tag {
    let hash = hash_of(&reacting.command_id("rules"));
    let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Tag::of(DELIVERY_TAG, hex).expect("32 hexadecimal digits make a tag")
}

fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
