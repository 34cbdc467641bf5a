//! The rules of an application: writing them, trying them, running them.

use std::sync::Arc;

use annals::{
    Annals, Clock, EventTypes, ExecuteError, Fault, FieldErrors, Inbox, LoadError, Query,
    ReadSideError, RecordedEvent, SystemClock, Version,
};
use serde_json::Value;

use crate::compiled::Compiled;
use crate::expression::Interpreter;
use crate::in_force::InForce;
use crate::reactor::{RuleReactor, depth_of, evaluate, unknown};
use crate::rule::RuleCommand;
use crate::{Actions, Definition, Models, Outcome, Rule, RuleRefusal};

/// The rules in a log, with what they can do and look at. Cheap to clone.
///
/// What is done with them, such as [`define`](Self::define), is done in the
/// [`Context`](annals::Context) that is around it: an actor and a reason given there are beside the
/// rule's events.
#[derive(Clone, Debug)]
pub struct Rules {
    annals: Annals,
    actions: Actions,
    models: Models,
    triggers: Option<EventTypes>,
    clock: Arc<dyn Clock>,
    interpreter: Interpreter,
    in_force: Arc<InForce>,
    depth_max: u32,
    records_not_met: bool,
}

/// What a rule would have done because of an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WouldDo {
    /// The event.
    pub event: annals::EventId,
    /// What would have become of the rule, if every action succeeded.
    pub outcome: Outcome,
    /// Why it would have failed.
    pub error: Option<String>,
    /// The actions that would have been done, and with what.
    pub actions: Vec<(String, Value)>,
}

impl Rules {
    /// How many rules may lead to an event, one because of the other, unless said otherwise.
    pub const DEPTH_MAX: u32 = 8;
    /// The most bytes of a rule's id: letters a to z and A to Z, digits, `_`, `.` and `-`.
    pub const ID_BYTES_MAX: usize = 64;

    /// The rules in this log, which can do these actions. Their expressions are evaluated one after
    /// the other on a thread that ends with the last clone and the last inbox.
    ///
    /// # Errors
    /// When that thread cannot be started.
    pub fn new(annals: Annals, actions: Actions) -> Result<Self, Fault> {
        let interpreter = Interpreter::start().map_err(|error| {
            Fault::because("starting the thread that evaluates the expressions of rules", error)
        })?;
        Ok(Self {
            in_force: Arc::new(InForce::new(annals.clone(), interpreter.clone())),
            interpreter,
            annals,
            actions,
            models: Models::new(),
            triggers: None,
            clock: Arc::new(SystemClock),
            depth_max: Self::DEPTH_MAX,
            records_not_met: false,
        })
    }

    /// The same, looking at rows of these.
    #[must_use]
    pub fn with_models(mut self, models: Models) -> Self {
        self.models = models;
        self
    }

    /// The same for events of these types only: no rule can be defined for others, and the
    /// [inbox](Self::inbox) is handed no others. Without it there is a delivery for every event of
    /// the log, and a misspelt trigger is no error.
    #[must_use]
    pub fn triggered_by(mut self, types: EventTypes) -> Self {
        self.triggers = Some(types);
        self
    }

    /// The same with another limit than [`DEPTH_MAX`](Self::DEPTH_MAX) on how many rules may lead
    /// to an event, one because of the other. A rule that would be one more does nothing, and that
    /// is recorded.
    #[must_use]
    pub fn depth_max(mut self, depth: u32) -> Self {
        self.depth_max = depth;
        self
    }

    /// The same, recording also each time that a condition was not met.
    #[must_use]
    pub fn recording_not_met(mut self) -> Self {
        self.records_not_met = true;
        self
    }

    /// The same, taking the time by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Everything that is wrong with a definition: its form, its expressions, and the names of
    /// actions, read models and types of events that are not there.
    pub async fn validate(&self, definition: &Definition) -> FieldErrors {
        let errors = Compiled::of(definition, &self.interpreter).await.err().unwrap_or_default();
        self.name_errors(definition, errors)
    }

    /// Writes a new rule, which is in force for the events that are recorded after it.
    ///
    /// # Errors
    /// [`ExecuteError::Invalid`] as [`validate`](Self::validate) says, and
    /// [`ExecuteError::Refused`] when there is or was a rule with this id.
    pub async fn define(
        &self,
        id: &str,
        definition: Definition,
    ) -> Result<Version, ExecuteError<RuleRefusal>> {
        let bytes = 1..=Self::ID_BYTES_MAX;
        let is_id = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let message = "use 1 to 64 letters, digits, `_`, `.` and `-`";
        let holds = bytes.contains(&id.len()) && id.chars().all(is_id);
        self.validate(&definition).await.check(holds, "id", "id", message).into_result()?;
        self.execute(id, RuleCommand::Define(definition)).await
    }

    /// Lets a rule say something else, for the events that are recorded after that.
    ///
    /// # Errors
    /// As [`define`](Self::define); refused when there is no such rule.
    pub async fn change(
        &self,
        id: &str,
        definition: Definition,
    ) -> Result<Version, ExecuteError<RuleRefusal>> {
        self.validate(&definition).await.into_result()?;
        self.execute(id, RuleCommand::Change(definition)).await
    }

    /// Puts a rule in force again, for the events that are recorded after that.
    ///
    /// # Errors
    /// Refused when there is no such rule.
    pub async fn enable(&self, id: &str) -> Result<Version, ExecuteError<RuleRefusal>> {
        self.execute(id, RuleCommand::Enable).await
    }

    /// Takes a rule out of force, for the events that are recorded after that.
    ///
    /// # Errors
    /// Refused when there is no such rule.
    pub async fn disable(&self, id: &str) -> Result<Version, ExecuteError<RuleRefusal>> {
        self.execute(id, RuleCommand::Disable).await
    }

    /// Takes a rule out of force for ever. Its history stays.
    ///
    /// # Errors
    /// Refused when there is no such rule.
    pub async fn remove(&self, id: &str) -> Result<Version, ExecuteError<RuleRefusal>> {
        self.execute(id, RuleCommand::Remove).await
    }

    /// The rules as they are now, by id, without those that were removed.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn list(&self) -> Result<Vec<(String, Rule)>, LoadError> {
        let rules = self.in_force.now().await?;
        Ok(rules.into_iter().map(|(id, rule)| (id.to_string(), rule)).collect())
    }

    /// What a rule would have done because of each of these events whose type it looks at: to try
    /// one before it is defined. Nothing is done and nothing recorded; rows are looked at as they
    /// are now.
    ///
    /// # Errors
    /// [`DryRunError`].
    pub async fn dry_run<'e>(
        &self,
        definition: &Definition,
        events: impl IntoIterator<Item = &'e RecordedEvent>,
    ) -> Result<Vec<WouldDo>, DryRunError> {
        self.name_errors(definition, FieldErrors::none()).into_result()?;
        let compiled = Compiled::of(definition, &self.interpreter).await?;
        let mut would = Vec::new();
        for event in events {
            if !definition.triggers.iter().any(|trigger| trigger == event.event_type.as_str()) {
                continue;
            }
            let found =
                evaluate(&compiled, definition, &self.models, event, &self.interpreter).await?;
            let names = definition.actions.iter().map(|action| action.name.clone());
            let (outcome, error, actions) = match found {
                Err(error) => (Outcome::Failed, Some(error), Vec::new()),
                Ok(None) => (Outcome::NotMet, None, Vec::new()),
                Ok(Some(_)) if depth_of(event) >= self.depth_max => {
                    (Outcome::TooDeep, None, Vec::new())
                }
                Ok(Some(arguments)) => (Outcome::Fired, None, names.zip(arguments).collect()),
            };
            would.push(WouldDo { event: event.id, outcome, error, actions });
        }
        Ok(would)
    }

    /// What applies the rules to events, for an inbox of one's own making.
    #[must_use]
    pub fn reactor(&self) -> RuleReactor {
        RuleReactor {
            annals: self.annals.clone(),
            actions: self.actions.clone(),
            models: self.models.clone(),
            clock: Arc::clone(&self.clock),
            interpreter: self.interpreter.clone(),
            in_force: Arc::clone(&self.in_force),
            depth_max: self.depth_max,
            records_not_met: self.records_not_met,
        }
    }

    /// The inbox that applies the rules, with this name.
    ///
    /// # Panics
    /// As [`Inbox::new`].
    #[must_use]
    pub fn inbox(&self, name: &'static str) -> Inbox {
        let inbox = Inbox::new(name, self.reactor());
        match &self.triggers {
            Some(types) => inbox.accepts(types.clone()),
            None => inbox.accepts(Query::all()),
        }
    }

    async fn execute(
        &self,
        id: &str,
        command: RuleCommand,
    ) -> Result<Version, ExecuteError<RuleRefusal>> {
        Ok(self.annals.execute::<Rule, _>(id, command).await?.version)
    }

    /// With the names that are not there, and arguments that do not fit.
    fn name_errors(&self, definition: &Definition, mut errors: FieldErrors) -> FieldErrors {
        let known: Option<Vec<_>> = self.triggers.clone().map(|types| types.into_iter().collect());
        for (n, trigger) in definition.triggers.iter().enumerate() {
            let holds =
                known.as_ref().is_none_or(|known| known.iter().any(|one| one.as_str() == trigger));
            let path = format!("triggers[{n}]");
            errors = errors.check(holds, &path, "unknown", "no rule looks at events of this type");
        }
        for (name, lookup) in &definition.lookups {
            let holds = self.models.get(&lookup.model).is_some();
            let path = format!("lookups.{name}.model");
            errors = errors.check(holds, &path, "unknown", "there is no such read model");
        }
        for (n, action) in definition.actions.iter().enumerate() {
            let Some(registered) = self.actions.get(&action.name) else {
                let path = format!("actions[{n}].name");
                errors = errors.check(false, &path, "unknown", &unknown(&action.name));
                continue;
            };
            // What arguments with expressions come to is not known before.
            let arguments = Value::Object(action.arguments.clone());
            if !has_expression(&arguments) {
                let checked = registered.check(arguments);
                let message = checked.as_ref().err().map(ToString::to_string).unwrap_or_default();
                let path = format!("actions[{n}].arguments");
                errors = errors.check(checked.is_ok(), &path, "arguments", &message);
            }
        }
        errors
    }
}

fn has_expression(arguments: &Value) -> bool {
    match arguments {
        Value::String(text) => text.starts_with('='),
        Value::Array(list) => list.iter().any(has_expression),
        Value::Object(object) => object.values().any(has_expression),
        _ => false,
    }
}

/// Why a rule cannot be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// The definition is wrong. Fix it.
    #[error(transparent)]
    Invalid(#[from] FieldErrors),
    /// A read model does not answer. The inner error says what to do.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
}
