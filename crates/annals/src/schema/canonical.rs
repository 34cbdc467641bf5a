//! Schemas in one form: what does not change which data fit is left out, and what has no order is
//! sorted.

use serde_json::{Map, Value};

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
    let mut kept: Vec<_> = keywords
        .iter()
        .filter(|(keyword, _)| !explains(keyword) || (is_opaque && *keyword == "title"))
        .map(|(keyword, value)| (keyword.clone(), of_keyword(keyword, value)))
        .collect();
    // A map may keep the order of insertion, if anything in the program asks for that.
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    Value::Object(kept.into_iter().collect())
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
