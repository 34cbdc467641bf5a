//! What templates can say of an entry.

use fluent_bundle::{FluentArgs, FluentValue};
use serde_json::{Map, Value};

use crate::Entry;

/// The most fields of data, and of metadata, that are arguments.
pub const ARGUMENTS_MAX: usize = 200;
const DEPTH_MAX: usize = 4;
/// Whole numbers up to here are exact as Fluent holds them.
const EXACT_MAX: u64 = 1 << 53;

pub(super) fn of<'a>(
    entry: &Entry,
    count: u64,
    better: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> FluentArgs<'static> {
    let mut arguments = FluentArgs::new();
    let mut fields = Vec::new();
    collect("", &entry.data, 0, &mut fields);
    let room = fields.len().min(ARGUMENTS_MAX);
    fields.truncate(room);
    collect("meta", &entry.metadata, 0, &mut fields);
    fields.truncate(room + ARGUMENTS_MAX);
    for (name, value) in fields {
        arguments.set(name, value);
    }
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let category = entry.category.as_str();
    let batch = entry.batch.as_ref().map(|b| b.description.as_deref().unwrap_or(&b.id));
    arguments.set("actor", text(entry.actor.as_deref()));
    arguments.set("reason", text(entry.reason.as_deref()));
    arguments.set("batch", text(batch));
    arguments.set("stream", entry.stream.to_string());
    arguments.set("category", category.to_owned());
    arguments.set("id", text(entry.id_in(category)));
    arguments.set("type", entry.event_type.to_string());
    arguments.set("count", count);
    for (name, value) in better {
        arguments.set(identifier(name), value.to_owned());
    }
    arguments
}

fn collect(
    name: &str,
    value: &Value,
    depth: usize,
    into: &mut Vec<(String, FluentValue<'static>)>,
) {
    let plain = match value {
        Value::Object(fields) => return collect_fields(name, fields, depth, into),
        Value::Array(_) => return,
        Value::Null => FluentValue::from(String::new()),
        Value::Bool(value) => FluentValue::from(value.to_string()),
        Value::String(text) => FluentValue::from(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) if whole.unsigned_abs() <= EXACT_MAX => FluentValue::from(whole),
            (None, Some(number)) if number.fract() != 0.0 => FluentValue::from(number),
            _ => FluentValue::from(number.to_string()),
        },
    };
    if !name.is_empty() && into.len() < 2 * ARGUMENTS_MAX {
        into.push((identifier(name), plain));
    }
}

fn collect_fields(
    name: &str,
    fields: &Map<String, Value>,
    depth: usize,
    into: &mut Vec<(String, FluentValue<'static>)>,
) {
    if depth >= DEPTH_MAX {
        return;
    }
    for (field, value) in fields {
        let name = if name.is_empty() { field.clone() } else { format!("{name}-{field}") };
        collect(&name, value, depth + 1, into);
    }
}

/// A text as an identifier of Fluent's: what cannot stand there is `-`.
pub(super) fn identifier(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}
