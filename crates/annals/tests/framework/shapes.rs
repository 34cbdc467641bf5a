//! The schemas of events, as the derive finds them.

use std::collections::BTreeMap;

use annals::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Without a schema.
#[derive(Clone, Serialize, Deserialize)]
struct Item {
    sku: String,
}

/// With one, which has another one in it.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Address {
    /// Where the post goes.
    street: String,
    country: Option<Country>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum Country {
    Usa,
    France,
}

/// One that holds itself.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Folder {
    name: String,
    folders: Vec<Folder>,
}

#[derive(Serialize, Deserialize, Default)]
struct Geo {
    longitude: f32,
}

mod in_cents {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]
    pub(super) fn serialize<S: Serializer>(amount: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64((amount * 100.0) as i64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(f64::from(i32::deserialize(deserializer)?) / 100.0)
    }
}

fn fresh() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[derive(Event)]
enum OrderEvent {
    #[serde(rename_all = "camelCase")]
    Placed {
        customer_id: u32,
        #[serde(rename = "lines")]
        items: Vec<Item>,
        first: Option<Item>,
        address: Address,
        #[serde(default)]
        gift: bool,
        #[serde(default = "fresh")]
        number: u32,
        #[serde(skip)]
        seen: bool,
        #[serde(skip_serializing, default)]
        old: bool,
        #[serde(skip_deserializing)]
        shown: bool,
        #[serde(with = "in_cents", default)]
        total: f64,
        note: Option<String>,
        by_name: BTreeMap<String, Item>,
    },
    Moved {
        #[serde(flatten)]
        to: Address,
        #[serde(flatten)]
        geo: Geo,
    },
    Filed(Folder),
    Packed(Item),
    Closed,
    Opened {},
}

fn schema_of(name: &str) -> Value {
    let shape = OrderEvent::SHAPES.iter().find(|shape| shape.name == name).unwrap();
    (shape.schema)().to_value()
}

fn country() -> Value {
    json!({ "enum": ["Usa", "France", null], "type": ["string", "null"] })
}

#[test]
fn a_schema_is_that_of_the_data_as_written() {
    let whole = json!({ "type": "integer", "format": "uint32", "minimum": 0, "x-type": "u32" });
    let flag = json!({ "type": "boolean", "x-type": "bool" });
    let text = |text| json!({ "type": "string", "description": text });
    let schema = schema_of("Placed");
    let expected = json!({
        "type": "object",
        "properties": {
            "customerId": whole,
            "lines": { "type": "array", "items": { "title": "Item" } },
            "first": { "title": "Item" },
            "address": {
                "type": "object",
                "description": "With one, which has another one in it.",
                "properties": { "street": text("Where the post goes."), "country": country() },
                "required": ["street"],
                "x-type": "Address",
            },
            "gift": flag,
            "number": whole,
            "shown": flag,
            "total": { "x-with": "f64 with in_cents" },
            "note": { "type": ["string", "null"], "x-type": "String" },
            "byName": { "title": "BTreeMap<String, Item>" },
        },
        "required": ["customerId", "lines", "address", "byName"],
    });
    assert_eq!(schema, expected, "{schema:#}");
}

#[test]
fn what_is_flattened_stands_beside_the_rest() {
    let schema = schema_of("Moved");
    assert_eq!(schema["properties"]["country"], country(), "{schema:#}");
    assert_eq!(schema["required"], json!(["street"]));
    assert_eq!(
        schema.get("title"),
        None,
        "the flattened type has no schema, and no place: {schema:#}"
    );
}

#[test]
fn a_variant_that_holds_a_type_has_its_schema() {
    let filed = schema_of("Filed");
    assert_eq!(filed["required"], json!(["name", "folders"]), "{filed:#}");
    let inner = &filed["properties"]["folders"]["items"];
    assert!(inner.get("$ref").is_some() || inner.get("properties").is_some(), "{filed:#}");
    assert_eq!(schema_of("Packed"), json!({ "title": "Item" }));
    for empty in ["Closed", "Opened"] {
        assert_eq!(schema_of(empty), json!({ "type": "object" }));
    }
}

#[test]
fn what_is_written_fits_the_schema() {
    let geo = Geo { longitude: 1.5 };
    let to = Address { street: "Elm St 1".into(), country: Some(Country::Usa) };
    let moved = OrderEvent::Moved { to, geo }.encode().unwrap();
    let data: Value = serde_json::from_slice(&moved.data.bytes).unwrap();
    let properties = schema_of("Moved")["properties"].clone();
    assert!(properties.as_object().unwrap().keys().all(|name| data.get(name).is_some()), "{data}");
}
