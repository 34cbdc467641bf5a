//! Which rules are in force at a place in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::{
    Aggregate, Annals, Apply, Category, Event, EventStoreExt, Fault, LoadError, Position, Query,
    QueryItem, Read, ReadError, RecordedEvent, Version, types,
};
use tokio::sync::Mutex;

use crate::compiled::Compiled;
use crate::expression::Interpreter;
use crate::{Definition, Rule, RuleEvent};

/// A version of a rule, as far as it has to be known to apply it.
#[derive(Debug)]
pub(crate) struct RuleVersion {
    pub(crate) id: Arc<str>,
    pub(crate) version: Version,
    pub(crate) definition: Definition,
    /// Its expressions, or what is wrong with them: that it was valid when it was defined does not
    /// say that it is for this program.
    pub(crate) compiled: Arc<Result<Compiled, String>>,
}

/// All versions of all rules, from the log, which is caught up with when it is asked.
///
/// The versions that were are kept beside those that are, because an event that is tried again, or
/// late, is looked at by the rules that were in force when it was recorded.
#[derive(Debug)]
pub(crate) struct InForce {
    annals: Annals,
    interpreter: Interpreter,
    view: Mutex<View>,
}

#[derive(Debug, Default)]
struct View {
    /// Up to where the log is known.
    seen: Position,
    rules: BTreeMap<Arc<str>, Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    rule: Rule,
    /// The expressions of what it says.
    compiled: Option<Arc<Result<Compiled, String>>>,
    /// From which position on which version is in force, if one is; in order.
    from: Vec<(Position, Option<Arc<RuleVersion>>)>,
}

impl InForce {
    pub(crate) fn new(annals: Annals, interpreter: Interpreter) -> Self {
        Self { annals, interpreter, view: Mutex::default() }
    }

    /// The rules that were in force when the event was recorded and look at its type, in the order
    /// in which they go: of each the version that the last event of the rule before this one made.
    pub(crate) async fn at(
        &self,
        event: &RecordedEvent,
    ) -> Result<Vec<Arc<RuleVersion>>, LoadError> {
        let mut view = self.view.lock().await;
        if view.seen < event.position {
            view.catch_up(&self.annals, &self.interpreter).await?;
        }
        if view.seen < event.position {
            let doing = "reading the rules up to an event that this store does not have yet";
            return Err(ReadError::Unavailable(Fault::new(doing)).into());
        }
        let in_force = view.rules.values().filter_map(|versions| versions.before(event.position));
        let looking = in_force.filter(|rule| {
            rule.definition.triggers.iter().any(|trigger| trigger == event.event_type.as_str())
        });
        let mut looking: Vec<_> = looking.cloned().collect();
        // The rules come in the order of their ids, which a stable sort keeps.
        looking.sort_by_key(|rule| rule.definition.order);
        Ok(looking)
    }

    /// The rules as they are now, with their ids and versions.
    pub(crate) async fn now(&self) -> Result<Vec<(Arc<str>, Rule)>, LoadError> {
        let mut view = self.view.lock().await;
        view.catch_up(&self.annals, &self.interpreter).await?;
        let rules = view.rules.iter().filter(|(_, versions)| !versions.rule.is_removed);
        Ok(rules.map(|(id, versions)| (Arc::clone(id), versions.rule.clone())).collect())
    }
}

impl View {
    async fn catch_up(
        &mut self,
        annals: &Annals,
        interpreter: &Interpreter,
    ) -> Result<(), LoadError> {
        let head = annals.store().head().await?;
        let query = Query::of(
            QueryItem::new()
                .types(types!(RuleEvent))
                .category(Category::from_static(Rule::CATEGORY)),
        );
        let read = Read::query(query).after(self.seen).up_to(head);
        let recorded = annals.store().read_to_end(read).await?;
        // Compiling takes its time. Nothing is changed before it is done, so that nothing is lost
        // when nobody waits for it any more.
        let mut learnt = Vec::with_capacity(recorded.len());
        for recorded in recorded {
            for event in RuleEvent::decode(&recorded)? {
                let compiled = match definition_of(&event) {
                    Some(definition) => Some(Compiled::of(definition, interpreter).await),
                    None => None,
                };
                let compiled = compiled
                    .map(|compiled| Arc::new(compiled.map_err(|errors| errors.to_string())));
                learnt.push((recorded.clone(), event, compiled));
            }
        }
        for (recorded, event, compiled) in learnt {
            let id: Arc<str> = recorded.stream.id().into();
            let versions = self.rules.entry(Arc::clone(&id)).or_default();
            versions.learn(&id, &recorded, event, compiled);
        }
        self.seen = self.seen.max(head);
        Ok(())
    }
}

fn definition_of(event: &RuleEvent) -> Option<&Definition> {
    match event {
        RuleEvent::RuleDefined(definition) | RuleEvent::RuleChanged(definition) => Some(definition),
        RuleEvent::RuleEnabled | RuleEvent::RuleDisabled | RuleEvent::RuleRemoved => None,
    }
}

impl Versions {
    fn learn(
        &mut self,
        id: &Arc<str>,
        recorded: &RecordedEvent,
        event: RuleEvent,
        compiled: Option<Arc<Result<Compiled, String>>>,
    ) {
        self.rule.apply(event);
        self.compiled = compiled.or(self.compiled.take());
        let in_force = self.rule.in_force().zip(self.compiled.as_ref());
        let in_force = in_force.map(|(definition, compiled)| {
            Arc::new(RuleVersion {
                id: Arc::clone(id),
                version: recorded.version,
                definition: definition.clone(),
                compiled: Arc::clone(compiled),
            })
        });
        self.from.push((recorded.position, in_force));
    }

    fn before(&self, position: Position) -> Option<&Arc<RuleVersion>> {
        let until = self.from.partition_point(|(from, _)| *from < position);
        self.from[..until].last()?.1.as_ref()
    }
}
