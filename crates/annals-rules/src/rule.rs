//! A rule as it is kept: in the events of its own stream.

use annals::{Aggregate, Apply, Command, Event};

use crate::Definition;

/// What happened to a rule.
#[derive(Clone, Debug, PartialEq, Event)]
#[non_exhaustive]
pub enum RuleEvent {
    /// It was written, and is in force from here on.
    RuleDefined(Definition),
    /// It says something else from here on.
    RuleChanged(Definition),
    /// It is in force again.
    RuleEnabled,
    /// It is not in force until it is enabled.
    RuleDisabled,
    /// It is gone; there will be no other with its id.
    RuleRemoved,
}

/// A rule, in the stream `rule-id`: its [history](annals::Annals::history) is who changed what in
/// it and when.
#[derive(Clone, Debug, Default, PartialEq, Aggregate)]
#[aggregate(category = "rule", event = RuleEvent)]
#[non_exhaustive]
pub struct Rule {
    /// What it says; `None` before it was defined, and when it is removed.
    pub definition: Option<Definition>,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// Whether it was removed.
    pub is_removed: bool,
}

impl Apply<RuleEvent> for Rule {
    fn apply(&mut self, event: RuleEvent) {
        match event {
            RuleEvent::RuleDefined(definition) => {
                *self = Self { definition: Some(definition), is_enabled: true, is_removed: false };
            }
            RuleEvent::RuleChanged(definition) => self.definition = Some(definition),
            RuleEvent::RuleEnabled => self.is_enabled = true,
            RuleEvent::RuleDisabled => self.is_enabled = false,
            RuleEvent::RuleRemoved => {
                *self = Self { definition: None, is_enabled: false, is_removed: true };
            }
        }
    }
}

impl Rule {
    /// The rule's words, while they are in force.
    pub(crate) fn in_force(&self) -> Option<&Definition> {
        self.definition.as_ref().filter(|_| self.is_enabled)
    }
}

/// What may be asked of a rule. Definitions have been found to be valid before, since that takes
/// an interpreter.
#[derive(Clone, Debug)]
pub(crate) enum RuleCommand {
    Define(Definition),
    Change(Definition),
    Enable,
    Disable,
    Remove,
}

/// Why a rule does not do what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleRefusal {
    /// There is one with this id.
    #[error("there is a rule with this id; change it, or choose another id")]
    Exists,
    /// There is none with this id.
    #[error("there is no rule with this id; define it")]
    NotDefined,
    /// There was one with this id.
    #[error("the rule with this id was removed; define one with another id")]
    Removed,
}

impl Command<Rule> for RuleCommand {
    type Error = RuleRefusal;

    fn decide(self, rule: &Rule) -> Result<Vec<RuleEvent>, RuleRefusal> {
        if rule.is_removed {
            return match self {
                Self::Remove => Ok(Vec::new()),
                _ => Err(RuleRefusal::Removed),
            };
        }
        let happens = match (self, &rule.definition) {
            (Self::Define(definition), None) => Some(RuleEvent::RuleDefined(definition)),
            (Self::Define(_), Some(_)) => return Err(RuleRefusal::Exists),
            (_, None) => return Err(RuleRefusal::NotDefined),
            (Self::Change(new), Some(old)) => (new != *old).then_some(RuleEvent::RuleChanged(new)),
            (Self::Enable, _) => (!rule.is_enabled).then_some(RuleEvent::RuleEnabled),
            (Self::Disable, _) => rule.is_enabled.then_some(RuleEvent::RuleDisabled),
            (Self::Remove, _) => Some(RuleEvent::RuleRemoved),
        };
        Ok(happens.into_iter().collect())
    }
}
