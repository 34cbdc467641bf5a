//! Expressions: text in the Common Expression Language, compiled once, evaluated within bounds.

mod budget;
mod interpreter;
mod json;
mod names;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::{Context, Env, Value};

pub(crate) use budget::Budget;
pub(crate) use interpreter::Interpreter;
pub(crate) use names::is_name;

/// The most nodes that an expression may have, with what macros make of it.
const NODES_MAX: usize = 500;
/// How deep an expression may be nested, with what macros make of it. `a + b + c` is two deep.
const DEPTH_MAX: usize = 64;
/// How deep brackets may be nested.
const BRACKETS_MAX: u16 = 24;
/// The most bytes of what an evaluation says went wrong.
const ERROR_BYTES_MAX: usize = 500;

/// What is the same for all expressions: the standard library without optional values, regular
/// expressions and dates.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that was found to be one, and to be within bounds. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Expression(Arc<IdedExpr>);

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoExpression(pub(crate) String);

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoValue(String);

impl Expression {
    /// The most bytes that its text may have.
    pub(crate) const BYTES_MAX: usize = 2_048;

    /// Compiles a text that names nothing but these variables. To be called by an
    /// [`Interpreter`].
    pub(crate) fn compile(text: &str, variables: &[&str]) -> Result<Self, NoExpression> {
        if text.len() > Self::BYTES_MAX {
            let (bytes, most) = (text.len(), Self::BYTES_MAX);
            return Err(NoExpression(format!("has {bytes} bytes; at most {most} are allowed")));
        }
        let parser = ENV.parser().max_recursion_depth(BRACKETS_MAX).error_recovery_limit(1);
        let parsed = parser.parse(text).map_err(|errors| {
            let first = errors.errors.first();
            let what = first.map_or_else(String::new, |error| {
                format!(" at {}:{}: {}", error.pos.0, error.pos.1, error.msg)
            });
            NoExpression(cut(&format!("is no expression{what}")))
        })?;
        let (nodes, depth) = size_of(&parsed);
        if nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(NoExpression(format!(
                "has {nodes} nodes and is {depth} deep; at most {NODES_MAX} and {DEPTH_MAX} are \
                 allowed"
            )));
        }
        names::check(&parsed, variables)?;
        Ok(Self(Arc::new(budget::metered(parsed))))
    }

    /// What it comes to. To be called by an [`Interpreter`].
    pub(crate) fn evaluate(&self, with: &Variables) -> Result<Value, NoValue> {
        let value = with.context.resolve(&self.0);
        if with.budget.is_spent() {
            return Err(NoValue(format!(
                "takes more than the {} steps that are allowed; loop over less",
                Budget::STEPS_MAX
            )));
        }
        value.map_err(|error| NoValue(cut(&error.to_string())))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// What the names in expressions stand for, and what all of their evaluations may take together.
pub(crate) struct Variables {
    context: Context<'static, 'static>,
    budget: Budget,
}

impl Variables {
    pub(crate) fn new() -> Self {
        let budget = Budget::default();
        let mut context = Context::with_env(Arc::clone(&ENV));
        budget.meter(&mut context);
        Self { context, budget }
    }

    pub(crate) fn set(&mut self, name: &str, value: serde_json::Value) {
        self.context.add_variable_from_value(name, json::value_of(value));
    }
}

/// What a value is as JSON.
pub(crate) fn json_of(value: &Value) -> Result<serde_json::Value, NoValue> {
    value.json().map_err(|error| NoValue(cut(&error.to_string())))
}

/// How many nodes an expression has, and how deep it is.
fn size_of(expression: &IdedExpr) -> (usize, usize) {
    let (mut nodes, mut deepest) = (1, 0);
    names::for_each_child(expression, &mut |child| {
        let (more, depth) = size_of(child);
        nodes += more;
        deepest = deepest.max(depth);
    });
    (nodes, deepest + 1)
}

/// The first bytes of a text that may repeat much of the data.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_BYTES_MAX)].to_owned()
}
