//! What happens when an event comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::{
    Annals, Clock, Context, EventType, Fault, ReactError, ReactErrorKind, Reacting, Reactor,
    ReadSideError, RecordedEvent,
};
use async_trait::async_trait;
use serde_json::Value;

use crate::actions::AnyAction;
use crate::compiled::Compiled;
use crate::execution::{self, ActionOutcome, Done, Outcome, Verdict};
use crate::expression::{Expression, Interpreter, Variables, json_of};
use crate::in_force::{InForce, RuleVersion};
use crate::{Action, Actions, Because, Definition, Models, OnFailure};

/// The key in metadata of the rule because of which an event was recorded.
pub(crate) const RULE: &str = "rule";
/// The key in metadata of that rule's version.
const RULE_VERSION: &str = "rule_version";
/// The key in metadata of how many rules led to an event, one because of the other.
pub(crate) const DEPTH: &str = "rule_depth";
/// What to do when the delivery of an event came to a program that lacks what the rule needs.
const DELIVER_ELSEWHERE: &str = "retry the delivery where it is there, or skip it";
/// The most bytes of an error that is recorded.
const ERROR_BYTES_MAX: usize = 1_000;

/// Applies the rules that are in force to the events it is handed: what
/// [`Rules::inbox`](crate::Rules::inbox) delivers to.
#[derive(Debug)]
pub struct RuleReactor {
    pub(crate) annals: Annals,
    pub(crate) actions: Actions,
    pub(crate) models: Models,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interpreter: Interpreter,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) depth_max: u32,
    pub(crate) records_not_met: bool,
}

#[async_trait]
impl Reactor for RuleReactor {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let depth = depth_of(event);
        // That a rule was too deep must not lead any deeper, or it would never end.
        if is_execution(&event.event_type) && depth > self.depth_max {
            return Ok(());
        }
        let mut rules = self.in_force.at(event).await?;
        rules.retain(|rule| rule.definition.by_itself || !came_of(event, rule));
        if rules.is_empty() {
            return Ok(());
        }
        let executed = execution::executed(&self.annals, reacting).await?;
        rules.retain(|rule| !executed.contains(&(rule.id.to_string(), rule.version)));
        let mut failed = None;
        for rule in rules {
            // One that has to be tried again holds up no other.
            if let Err(error) = self.execute(&rule, reacting, depth).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl RuleReactor {
    /// # Errors
    /// When it has to be tried again.
    async fn execute(
        &self,
        rule: &RuleVersion,
        reacting: &Reacting,
        depth: u32,
    ) -> Result<(), ReactError> {
        let context = Context::because_of(reacting.event())
            .actor(format_args!("rule:{}", rule.id))
            .reason(&rule.definition.name)
            .with(RULE, &*rule.id)
            .with(RULE_VERSION, rule.version.get())
            .with(DEPTH, depth.saturating_add(1));
        let executing = async {
            let began = self.clock.now();
            let verdict = self.judge(rule, reacting, depth).await?;
            if verdict.outcome == Outcome::NotMet && !self.records_not_met {
                return Ok(());
            }
            let micros = self.clock.now().as_micros().saturating_sub(began.as_micros());
            let duration = u64::try_from(micros).unwrap_or_default();
            let execution = verdict.into_execution(rule, reacting, duration);
            execution::record(&self.annals, reacting, execution).await?;
            Ok(())
        };
        context.scope(executing).await
    }

    async fn judge(
        &self,
        rule: &RuleVersion,
        reacting: &Reacting,
        depth: u32,
    ) -> Result<Verdict, ReactError> {
        let compiled = match &*rule.compiled {
            Ok(compiled) => compiled,
            // It was valid for the program that defined it, which may be a newer one.
            Err(errors) => {
                let said = format!("this program does not understand it; {DELIVER_ELSEWHERE}: ");
                return Err(ReactError::transient(said + &cut(errors)));
            }
        };
        let (event, interpreter) = (reacting.event(), &self.interpreter);
        let found = evaluate(compiled, &rule.definition, &self.models, event, interpreter).await?;
        Ok(match found {
            Err(error) => Verdict::failed(cut(&error)),
            Ok(None) => Outcome::NotMet.into(),
            Ok(Some(_)) if depth >= self.depth_max => Verdict {
                error: Some(format!(
                    "{depth} rules led to this event, one because of the other; at most {} may",
                    self.depth_max
                )),
                ..Outcome::TooDeep.into()
            },
            Ok(Some(arguments)) => self.act(rule, reacting, arguments).await?,
        })
    }

    /// # Errors
    /// As soon as an action has to be tried again: those behind it are done after it.
    async fn act(
        &self,
        rule: &RuleVersion,
        reacting: &Reacting,
        arguments: Vec<Value>,
    ) -> Result<Verdict, ReactError> {
        let mut verdict = Verdict::from(Outcome::Fired);
        let actions = self.actions_of(&rule.definition)?.into_iter().zip(arguments);
        for (n, ((name, action), arguments)) in actions.enumerate() {
            let stopped =
                verdict.outcome == Outcome::Failed && rule.definition.on_failure == OnFailure::Stop;
            let done = |outcome, error| Done { name: name.to_owned(), outcome, error };
            if stopped {
                verdict.actions.push(done(ActionOutcome::Skipped, None));
                continue;
            }
            let because = Because {
                reacting: reacting.clone(),
                rule: Arc::clone(&rule.id),
                rule_version: rule.version,
                action: n,
            };
            match action.act(arguments, because).await {
                Ok(()) => verdict.actions.push(done(ActionOutcome::Done, None)),
                Err(error) if error.kind() == ReactErrorKind::Permanent => {
                    let said = cut(&chain(error.source()));
                    verdict.outcome = Outcome::Failed;
                    verdict.error.get_or_insert_with(|| format!("the action {name} failed"));
                    verdict.actions.push(done(ActionOutcome::Failed, Some(said)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(verdict)
    }

    /// A rule's actions with their names.
    ///
    /// # Errors
    /// When there is one that this program does not have. Another may, such as the one that is
    /// being deployed.
    fn actions_of<'r>(
        &'r self,
        definition: &'r Definition,
    ) -> Result<Vec<(&'r str, &'r dyn AnyAction)>, ReactError> {
        let actions = definition.actions.iter().map(|Action { name, .. }| {
            let action = self.actions.get(name).ok_or_else(|| {
                let said = format!("this program has no action {name}; {DELIVER_ELSEWHERE}");
                ReactError::transient(said)
            });
            Ok((&**name, action?))
        });
        actions.collect()
    }
}

/// Whether a rule's condition is met by an event, and what its actions are to be done with then; or
/// why that cannot be said.
///
/// # Errors
/// When a read model does not answer, or this program does not have it.
pub(crate) async fn evaluate(
    compiled: &Compiled,
    definition: &Definition,
    models: &Models,
    event: &RecordedEvent,
    interpreter: &Interpreter,
) -> Result<Result<Option<Vec<Value>>, String>, ReadSideError> {
    let mut variables = match Variables::of(event) {
        Ok(variables) => variables,
        Err(error) => return Ok(Err(error)),
    };
    if !compiled.keys.is_empty() {
        let keys = compiled.keys.clone();
        let looked_up = move || Ok((keys_of(keys, &variables)?, variables));
        let looked_up = evaluated(interpreter, looked_up).await;
        let keys;
        (keys, variables) = match looked_up {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        for (name, key) in keys {
            let model = &definition.lookups[&name].model;
            match row_of(models, model, &key).await? {
                Ok(row) => variables.set(&name, row),
                Err(error) => return Ok(Err(format!("the row {name}: {error}"))),
            }
        }
    }
    let compiled = compiled.clone();
    Ok(evaluated(interpreter, move || compiled.evaluate(&variables)).await)
}

/// The key of each row.
fn keys_of(
    keys: BTreeMap<String, Expression>,
    variables: &Variables,
) -> Result<Vec<(String, Value)>, String> {
    let keys = keys.into_iter().map(|(name, key)| {
        match key.evaluate(variables).and_then(|key| json_of(&key)) {
            Ok(key) => Ok((name, key)),
            Err(error) => Err(format!("the key of {name}: {error}")),
        }
    });
    keys.collect()
}

async fn row_of(
    models: &Models,
    model: &str,
    key: &Value,
) -> Result<Result<Value, String>, ReadSideError> {
    let key = match key {
        Value::Null => return Ok(Ok(Value::Null)),
        Value::String(key) => key.clone(),
        Value::Number(key) => key.to_string(),
        _ => return Ok(Err("its key is neither text nor a number".to_owned())),
    };
    if key.len() > annals::RowKey::BYTES_MAX {
        return Ok(Err(format!("its key has {} bytes; no row has so many", key.len())));
    }
    let Some(model) = models.get(model) else {
        let doing = format!("this program has no read model {model}; {DELIVER_ELSEWHERE}");
        return Err(ReadSideError::Unavailable(Fault::new(doing)));
    };
    let row = model.row(&key).await?.unwrap_or_default();
    let bytes = row.to_string().len();
    if bytes > Variables::BYTES_MAX {
        let most = Variables::BYTES_MAX;
        return Ok(Err(format!("has {bytes} bytes; rules look at no more than {most}")));
    }
    Ok(Ok(row))
}

async fn evaluated<T: Send + 'static>(
    interpreter: &Interpreter,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    interpreter.run(work).await.unwrap_or_else(|panicked| Err(panicked.to_string()))
}

/// How many rules led to an event, one because of the other.
pub(crate) fn depth_of(event: &RecordedEvent) -> u32 {
    let depth = event.metadata.get(DEPTH).as_ref().and_then(Value::as_u64).unwrap_or_default();
    u32::try_from(depth).unwrap_or(u32::MAX)
}

/// Whether an event was recorded because of this very rule.
fn came_of(event: &RecordedEvent, rule: &RuleVersion) -> bool {
    event.metadata.get(RULE).as_ref().and_then(Value::as_str) == Some(&rule.id)
}

fn is_execution(event_type: &EventType) -> bool {
    event_type.as_str() == "RuleExecuted"
}

pub(crate) fn unknown(action: &str) -> String {
    format!("there is no action {action}; register it, or change the rule")
}

/// An error and what it came of.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    said
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_BYTES_MAX)].to_owned()
}
