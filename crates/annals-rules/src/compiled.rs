//! A rule whose expressions are compiled.

use std::collections::BTreeMap;

use annals::FieldErrors;
use serde_json::{Map, Value};

use crate::expression::{Expression, Interpreter, NoValue, Variables, json_of};
use crate::{Action, Definition};

/// The expressions of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    /// The key of each row, by the row's name.
    pub(crate) keys: BTreeMap<String, Expression>,
    condition: Expression,
    /// The arguments of each action.
    arguments: Vec<Template>,
}

/// JSON some of whose texts are expressions.
#[derive(Clone, Debug)]
enum Template {
    Literal(Value),
    Expression(Expression),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Compiled {
    /// The rule's expressions.
    ///
    /// # Errors
    /// Everything that is wrong with the definition, field by field.
    pub(crate) async fn of(
        definition: &Definition,
        interpreter: &Interpreter,
    ) -> Result<Self, FieldErrors> {
        definition.shape_errors().into_result()?;
        let definition = definition.clone();
        interpreter.run(move || Self::compile(&definition)).await.unwrap_or_else(|panicked| {
            let said = panicked.to_string();
            Err(FieldErrors::none().check(false, "condition", "expression", &said))
        })
    }

    fn compile(definition: &Definition) -> Result<Self, FieldErrors> {
        let mut compiler =
            Compiler { errors: FieldErrors::none(), variables: Variables::FIXED.to_vec() };
        let keys = definition.lookups.iter().filter_map(|(name, lookup)| {
            let key = compiler.compile(&format!("lookups.{name}.key"), &lookup.key)?;
            Some((name.clone(), key))
        });
        let keys = keys.collect();
        compiler.variables.extend(definition.lookups.keys().map(String::as_str));
        let condition = compiler.compile("condition", &definition.condition);
        let mut arguments = Vec::with_capacity(definition.actions.len());
        for (n, Action { arguments: given, .. }) in definition.actions.iter().enumerate() {
            arguments.push(compiler.object(&format!("actions[{n}].arguments"), given));
        }
        compiler.errors.into_result()?;
        let condition = condition.expect("an expression that does not compile is an error");
        Ok(Self { keys, condition, arguments })
    }

    /// Whether the condition is met, and if so what each action is to be done with. To be called by
    /// an [`Interpreter`].
    pub(crate) fn evaluate(&self, variables: &Variables) -> Result<Option<Vec<Value>>, String> {
        match self.condition.evaluate(variables).map(|met| json_of(&met)) {
            Ok(Ok(Value::Bool(true))) => {}
            Ok(Ok(Value::Bool(false))) => return Ok(None),
            Ok(_) => return Err("the condition is neither true nor false".to_owned()),
            Err(error) => return Err(format!("the condition: {error}")),
        }
        let arguments = self.arguments.iter().enumerate().map(|(n, template)| {
            let filled = template.fill(variables);
            filled.map_err(|error| format!("the arguments of actions[{n}]: {error}"))
        });
        arguments.collect::<Result<_, _>>().map(Some)
    }
}

struct Compiler<'d> {
    errors: FieldErrors,
    variables: Vec<&'d str>,
}

impl Compiler<'_> {
    fn compile(&mut self, path: &str, text: &str) -> Option<Expression> {
        Expression::compile(text, &self.variables)
            .map_err(|error| self.add(path, &error.to_string()))
            .ok()
    }

    fn template(&mut self, path: &str, given: &Value) -> Template {
        match given {
            Value::String(text) => match text.strip_prefix('=') {
                Some(literal) if literal.starts_with('=') => Template::Literal(literal.into()),
                Some(text) => match self.compile(path, text) {
                    Some(expression) => Template::Expression(expression),
                    None => Template::Literal(Value::Null),
                },
                None => Template::Literal(given.clone()),
            },
            Value::Array(list) => Template::List(
                list.iter()
                    .enumerate()
                    .map(|(n, given)| self.template(&format!("{path}[{n}]"), given))
                    .collect(),
            ),
            Value::Object(object) => self.object(path, object),
            _ => Template::Literal(given.clone()),
        }
    }

    fn object(&mut self, path: &str, object: &Map<String, Value>) -> Template {
        let fields = object
            .iter()
            .map(|(key, given)| (key.clone(), self.template(&format!("{path}.{key}"), given)));
        Template::Object(fields.collect())
    }

    fn add(&mut self, path: &str, message: &str) {
        let errors = std::mem::take(&mut self.errors);
        self.errors = errors.check(false, path, "expression", message);
    }
}

impl Template {
    fn fill(&self, variables: &Variables) -> Result<Value, NoValue> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => json_of(&expression.evaluate(variables)?),
            Self::List(list) => list.iter().map(|template| template.fill(variables)).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(key, template)| Ok((key.clone(), template.fill(variables)?)))
                .collect(),
        }
    }
}
