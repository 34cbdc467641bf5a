//! What a rule says: when, if, then.

use std::collections::BTreeMap;

use annals::{EventType, FieldErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a rule says. Stored as it is, in the events of the rule.
///
/// ```
/// use annals_rules::Definition;
/// use serde_json::json;
///
/// let escalate = Definition::new("Escalate what is urgent")
///     .on("IssuePrioritised")
///     .lookup("issue", "issues", "event.stream_id")
///     .when("event.data.priority == 'urgent' && issue != null && !has(issue.assignee)")
///     .then("assign", json!({ "issue": "=event.stream_id", "to": "on-call" }))
///     .then("notify", json!({ "text": "='Urgent: ' + issue.title" }));
/// assert_eq!(escalate.actions.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The types of events that it looks at, in their newest shapes.
    pub triggers: Vec<String>,
    /// The rows that its expressions look at, by the names they have there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, Lookup>,
    /// An expression that is true of an event if the actions are to be done.
    #[serde(default = "always")]
    pub condition: String,
    /// What is done, in this order.
    pub actions: Vec<Action>,
    /// Rules with a lower number go first; those with the same in the order of their ids.
    #[serde(default)]
    pub order: i32,
    /// What becomes of the actions behind one that fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Whether it also looks at what came of itself.
    #[serde(default)]
    pub by_itself: bool,
}

/// A row of a read model that a rule's expressions look at, as it is when the rule does; `null` if
/// there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Lookup {
    /// Which read model, by the name it was given in [`Models`](crate::Models).
    pub model: String,
    /// An expression over `event` and `metadata` that is the row's key: text or a whole number.
    pub key: String,
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Action {
    /// What, by the name it was given in [`Actions`](crate::Actions).
    pub name: String,
    /// With what. Texts that begin with `=` are expressions, and those that begin with `==` are
    /// themselves without the first of the two; everything else is itself.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

/// What becomes of the actions behind one that fails for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum OnFailure {
    /// They are not done.
    #[default]
    Stop,
    /// They are done.
    Continue,
}

fn always() -> String {
    "true".to_owned()
}

impl Definition {
    /// The most types of events that a rule may look at.
    pub const TRIGGERS_MAX: usize = 32;
    /// The most rows.
    pub const LOOKUPS_MAX: usize = 8;
    /// The most actions.
    pub const ACTIONS_MAX: usize = 16;
    /// The most bytes of its name, and of that of an action or a read model.
    pub const NAME_BYTES_MAX: usize = 200;
    /// The most bytes of its description.
    pub const DESCRIPTION_BYTES_MAX: usize = 4_096;
    /// The most bytes of the arguments of an action, as JSON.
    pub const ARGUMENTS_BYTES_MAX: usize = 16_384;
    /// The most bytes of an expression.
    pub const EXPRESSION_BYTES_MAX: usize = crate::expression::Expression::BYTES_MAX;

    /// A rule that looks at nothing and does nothing; it is valid once it has a trigger and an
    /// action.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            triggers: Vec::new(),
            lookups: BTreeMap::new(),
            condition: always(),
            actions: Vec::new(),
            order: 0,
            on_failure: OnFailure::Stop,
            by_itself: false,
        }
    }

    /// The same with a description.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// The same, looking also at events of this type.
    #[must_use]
    pub fn on(mut self, event_type: impl Into<String>) -> Self {
        self.triggers.push(event_type.into());
        self
    }

    /// The same, looking also at the row with the key `key` of a read model, as `name`.
    #[must_use]
    pub fn lookup(mut self, name: &str, model: &str, key: &str) -> Self {
        let lookup = Lookup { model: model.to_owned(), key: key.to_owned() };
        self.lookups.insert(name.to_owned(), lookup);
        self
    }

    /// The same under this condition.
    #[must_use]
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.condition = condition.into();
        self
    }

    /// The same with one more action. Arguments that are no JSON object are kept under `value`.
    #[must_use]
    pub fn then(mut self, action: &str, arguments: Value) -> Self {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            value => Map::from_iter([("value".to_owned(), value)]),
        };
        self.actions.push(Action { name: action.to_owned(), arguments });
        self
    }

    /// The same at another place among the rules than 0.
    #[must_use]
    pub fn order(mut self, order: i32) -> Self {
        self.order = order;
        self
    }

    /// The same, doing the actions behind one that fails.
    #[must_use]
    pub fn continue_on_failure(mut self) -> Self {
        self.on_failure = OnFailure::Continue;
        self
    }

    /// The same, looking also at what came of itself; up to the limit that all rules have.
    #[must_use]
    pub fn also_by_itself(mut self) -> Self {
        self.by_itself = true;
        self
    }

    /// What is wrong with it besides its expressions.
    pub(crate) fn shape_errors(&self) -> FieldErrors {
        let mut errors = FieldErrors::none()
            .check(is_label(&self.name), "name", "length", "give it a name of 1 to 200 bytes")
            .check(
                self.description.len() <= Self::DESCRIPTION_BYTES_MAX,
                "description",
                "length",
                "must have at most 4096 bytes",
            )
            .check(
                (1..=Self::TRIGGERS_MAX).contains(&self.triggers.len()),
                "triggers",
                "length",
                "name 1 to 32 types of events",
            )
            .check(
                self.lookups.len() <= Self::LOOKUPS_MAX,
                "lookups",
                "length",
                "look at no more than 8 rows",
            )
            .check(
                (1..=Self::ACTIONS_MAX).contains(&self.actions.len()),
                "actions",
                "length",
                "name 1 to 16 actions",
            );
        for (n, trigger) in self.triggers.iter().enumerate() {
            if let Err(invalid) = EventType::new(trigger.as_str()) {
                let path = format!("triggers[{n}]");
                errors = errors.check(false, &path, "event_type", &invalid.fault.to_string());
            }
        }
        for name in self.lookups.keys() {
            let is_name = crate::expression::is_name(name) && is_label(name);
            let message = "use letters, digits and `_`, and none of the language's words";
            errors = errors.check(is_name, &format!("lookups.{name}"), "name", message);
        }
        for (n, action) in self.actions.iter().enumerate() {
            let bytes = Value::Object(action.arguments.clone()).to_string().len();
            let path = format!("actions[{n}].arguments");
            let message = "must have at most 16384 bytes";
            errors = errors.check(bytes <= Self::ARGUMENTS_BYTES_MAX, &path, "length", message);
        }
        errors
    }
}

fn is_label(text: &str) -> bool {
    (1..=Definition::NAME_BYTES_MAX).contains(&text.len())
}
