//! Schemas in one form: what does not change which data fit is left out, and what has no order is
//! sorted.

use serde_json::{Map, Value, json};

/// The keyword with the name of a type that has a schema. It is in no lock: what it is good for
/// is to know again what was known by its name only.
pub(crate) const TYPE: &str = "x-type";

/// The keyword with the names of the functions that write and read a field instead of its type.
pub(crate) const WITH: &str = "x-with";

/// What stands before the name of a type in the keyword which says that it is flattened into the
/// whole. The value is true when only its name is known, [`PERHAPS`] when that may also be
/// missing, and [`DESCRIBED`], which is in no lock, when the whole has its fields.
pub(crate) const FLATTENED: &str = "x-flattened/";
pub(crate) const PERHAPS: &str = "perhaps";
pub(crate) const DESCRIBED: &str = "described";

/// What explains a schema, and says nothing about the data.
const EXPLANATIONS: [&str; 9] = [
    "$comment",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// The schema in that form.
///
/// Of a type without a schema it keeps the title, which is all that is known of it.
pub(crate) fn canonical(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let explains = |keyword: &str| EXPLANATIONS.contains(&keyword);
    let is_opaque = keywords.keys().all(|keyword| explains(keyword));
    let kept = keywords
        .iter()
        .filter(|(keyword, _)| !explains(keyword) || (is_opaque && *keyword == "title"))
        .map(|(keyword, value)| (keyword.clone(), of_keyword(keyword, value)));
    let mut kept: Vec<_> = texts_together(kept.collect()).into_iter().collect();
    // A map may keep the order of insertion, if anything in the program asks for that.
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    Value::Object(kept.into_iter().collect())
}

/// With one alternative for all texts: schemars makes one of each variant of an enum that has a
/// comment, and one of all others. When nothing else is left, not even that.
fn texts_together(mut keywords: Map<String, Value>) -> Map<String, Value> {
    for several in ["anyOf", "oneOf"] {
        let Some(Value::Array(alternatives)) = keywords.get(several) else { continue };
        let (texts, mut rest): (Vec<_>, Vec<_>) =
            alternatives.iter().cloned().partition(|one| texts(one).is_some());
        let mut values: Vec<_> = texts.iter().filter_map(self::texts).flatten().cloned().collect();
        if values.is_empty() {
            continue;
        }
        let is_free = !["type", "enum", "const"].iter().any(|key| keywords.contains_key(*key));
        let or_null = is_free && rest == [json!({ "type": "null" })];
        let mut together = Map::new();
        if or_null {
            rest.clear();
            values.push(Value::Null);
        }
        let kind = if or_null { json!(["string", "null"]) } else { json!("string") };
        together.insert("enum".to_owned(), sorted_values(&values));
        together.insert("type".to_owned(), kind);
        let name = texts.iter().find_map(|one| one.get(TYPE));
        together.extend(name.map(|name| (TYPE.to_owned(), name.clone())));
        keywords.remove(several);
        if is_free && rest.is_empty() {
            keywords.extend(together);
        } else {
            rest.insert(0, Value::Object(together));
            keywords.insert(several.to_owned(), Value::Array(rest));
        }
    }
    keywords
}

/// The texts that fit the schema, if nothing else does.
fn texts(schema: &Value) -> Option<Vec<&Value>> {
    const KNOWN: [&str; 4] = ["type", "enum", "const", TYPE];
    let keywords = schema.as_object()?;
    let is_known = keywords.keys().all(|keyword| KNOWN.contains(&keyword.as_str()));
    let is_text = is_known && keywords.get("type").is_some_and(|kind| kind == "string");
    match (keywords.get("enum"), keywords.get("const")) {
        (Some(Value::Array(values)), None) if is_text => Some(values.iter().collect()),
        (None, Some(value)) if is_text => Some(vec![value]),
        _ => None,
    }
}

fn of_keyword(keyword: &str, value: &Value) -> Value {
    match (keyword, value) {
        (
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
            Value::Object(schemas),
        ) => of_named(schemas),
        ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
            Value::Array(schemas.iter().map(canonical).collect())
        }
        (
            "items"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "contains"
            | "not"
            | "if"
            | "then"
            | "else",
            schema,
        ) => canonical(schema),
        ("required", Value::Array(names)) => sorted(names),
        ("enum", Value::Array(values)) => sorted_values(values),
        _ => value.clone(),
    }
}

fn of_named(schemas: &Map<String, Value>) -> Value {
    let mut schemas: Vec<_> =
        schemas.iter().map(|(name, schema)| (name.clone(), canonical(schema))).collect();
    schemas.sort_by(|(one, _), (other, _)| one.cmp(other));
    Value::Object(schemas.into_iter().collect())
}

fn sorted(names: &[Value]) -> Value {
    let mut names = names.to_vec();
    names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    Value::Array(names)
}

fn sorted_values(values: &[Value]) -> Value {
    let mut values = values.to_vec();
    values.sort_by_cached_key(Value::to_string);
    values.dedup();
    Value::Array(values)
}

/// The schema as it is locked: without the names of types that have one.
pub(crate) fn without_types(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let kept = keywords.iter().filter(|(keyword, value)| !names_described(keyword, value));
            kept.map(|(keyword, value)| (keyword.clone(), without_types(value))).collect()
        }
        Value::Array(several) => several.iter().map(without_types).collect(),
        other => other.clone(),
    }
}

/// What has another value than these is a field of that name.
fn names_described(keyword: &str, value: &Value) -> bool {
    keyword == TYPE && value.is_string() || keyword.starts_with(FLATTENED) && *value == DESCRIBED
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn explanations_go_and_names_that_look_like_them_stay() {
        let schema = json!({
            "title": "Opened",
            "description": "An account.",
            "type": "object",
            "properties": {
                "title": { "type": "string", "description": "What it is called." },
                "default": { "title": "Money" },
            },
            "required": ["title", "default"],
        });
        let bare = json!({
            "properties": { "default": { "title": "Money" }, "title": { "type": "string" } },
            "required": ["default", "title"],
            "type": "object",
        });
        assert_eq!(canonical(&schema).to_string(), bare.to_string());
    }
}
