//! JSON as values of expressions.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};

/// JSON knows one kind of numbers; whole ones become `int`, which is what people write.
pub(super) fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(bool) => Value::Bool(bool),
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(list) => {
            Value::List(Arc::new(list.into_iter().map(value_of).collect()))
        }
        serde_json::Value::Object(map) => {
            let map: HashMap<Key, Value> =
                map.into_iter().map(|(key, value)| (key.into(), value_of(value))).collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}
