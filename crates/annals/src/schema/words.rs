//! Schemas in words, for those who read what has changed.

use serde_json::{Map, Value};

use super::canonical::{TYPE, WITH};

/// The schema in a few words.
pub(crate) fn in_words(schema: &Value) -> String {
    let Value::Object(keywords) = schema else { return "anything".to_owned() };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> = values.iter().map(Value::to_string).collect();
        return format!("one of {}", values.join(", "));
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if is_anything(schema) {
        return "anything".to_owned();
    }
    if let Some(functions) = text(schema, WITH) {
        return format!("`{functions}`");
    }
    if is_named(schema) {
        return format!("`{}`", text(schema, "title").unwrap_or_default());
    }
    if keywords.contains_key("oneOf") || keywords.contains_key("anyOf") {
        return "one of several alternatives".to_owned();
    }
    let format = text(schema, "format").map(|format| format!(" ({format})")).unwrap_or_default();
    match schema.get("type") {
        Some(Value::String(one)) => format!("{}{format}", of_type(one, schema)),
        Some(Value::Array(several)) => {
            let several = several.iter().filter_map(Value::as_str);
            let several: Vec<_> = several.map(|one| of_type(one, schema)).collect();
            format!("{}{format}", several.join(" or "))
        }
        _ => "an object".to_owned(),
    }
}

fn of_type(name: &str, schema: &Value) -> String {
    match name {
        "array" => {
            let items = schema.get("items").map(in_words);
            items.map_or("a list".to_owned(), |items| format!("a list, each {items}"))
        }
        "boolean" => "true or false".to_owned(),
        "integer" => "a whole number".to_owned(),
        "null" => "null".to_owned(),
        "number" => "a number".to_owned(),
        "object" => "an object".to_owned(),
        "string" => "a text".to_owned(),
        other => format!("a {other}"),
    }
}

/// Whether of a type nothing is known but its name.
pub(crate) fn is_named(schema: &Value) -> bool {
    let keywords = schema.as_object();
    keywords.is_some_and(|keywords| keywords.len() == 1 && keywords.contains_key("title"))
}

/// Whether this is the schema of the type of this name, or of an option of it.
pub(crate) fn is_of_type(schema: &Value, title: &str) -> bool {
    let several = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    [schema].into_iter().chain(several).any(|schema| text(schema, TYPE) == Some(title))
}

/// Whether all data fit.
pub(crate) fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Object(keywords) => keywords.is_empty(),
        other => *other == Value::Bool(true),
    }
}

pub(crate) fn text<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    schema.get(keyword).and_then(Value::as_str)
}

/// One of the shapes that data may have, by a name; texts among them have none.
pub(crate) struct Alternative<'a> {
    pub(crate) name: String,
    pub(crate) schema: &'a Value,
}

impl<'a> Alternative<'a> {
    pub(crate) fn are_in(keywords: &Map<String, Value>) -> bool {
        keywords.contains_key("oneOf") || keywords.contains_key("anyOf")
    }

    /// All of a schema; one without any is the only one itself.
    pub(crate) fn of(schema: &'a Value) -> Vec<Self> {
        let several = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
        match several {
            None => vec![Self { name: name_of(schema), schema }],
            Some(several) => {
                several.iter().map(|one| Self { name: name_of(one), schema: one }).collect()
            }
        }
    }
}

/// The value by which data say which alternative they are, if that can be seen.
fn name_of(schema: &Value) -> String {
    if schema.get("enum").is_some() {
        return String::new();
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut properties = properties.into_iter().flatten();
    let said = properties.clone().find_map(|(_, property)| property.get("const"));
    match (said, properties.next(), properties.next()) {
        (Some(Value::String(said)), ..) => said.clone(),
        // As serde writes the variants of an enum: `{ "Paid": { .. } }`.
        (_, Some((only, _)), None) => only.clone(),
        _ => in_words(schema),
    }
}
