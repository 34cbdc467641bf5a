//! What the derive of `Event` writes and reads.

use annals::{
    ContentType, Data, DecodeError, DecodeFault, EncodeFault, Event, EventId, EventType, Metadata,
    NewEvent, Position, RecordedEvent, StreamId, Tags, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Event)]
enum OrderEvent {
    /// A name of its own, a schema version, and everything serde can do to a field.
    #[event(name = "order-placed", version = 2)]
    #[serde(rename_all = "camelCase")]
    Placed {
        #[event(tag = "customer")]
        customer_id: u32,
        #[serde(rename = "lines")]
        items: Vec<Item>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gift_note: Option<String>,
        #[serde(with = "in_cents")]
        total: f64,
        r#type: String,
    },
    Paid(Payment),
    Noted(#[serde(with = "in_words")] String),
    Shipped {},
    Closed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    sku: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    method: String,
}

/// Takes a reference to the field's own type, which only works when the field is where it is.
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

/// An object of what would be none.
mod in_words {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Note {
        words: String,
    }

    pub(super) fn serialize<S: Serializer>(words: &str, serializer: S) -> Result<S::Ok, S::Error> {
        Note { words: words.to_owned() }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D>(deserializer: D) -> Result<String, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Note::deserialize(deserializer)?.words)
    }
}

fn placed(gift_note: Option<&str>) -> OrderEvent {
    OrderEvent::Placed {
        customer_id: 7,
        items: vec![Item { sku: "A".into() }],
        gift_note: gift_note.map(str::to_owned),
        total: 12.5,
        r#type: "web".into(),
    }
}

fn stored(event: NewEvent) -> RecordedEvent {
    RecordedEvent {
        position: Position::new(1),
        stream: StreamId::from_static("order-1"),
        version: Version::FIRST,
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        data: event.data,
        metadata: event.metadata,
        tags: Tags::new(&event.tags),
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::EPOCH,
    }
}

fn foreign(event_type: &str, schema_version: u32, data: Data) -> RecordedEvent {
    stored(NewEvent {
        id: EventId::from_bytes([1; 16]),
        event_type: EventType::new(event_type).unwrap(),
        schema_version,
        data,
        metadata: Metadata::empty(),
        tags: vec![],
        occurred_at: None,
    })
}

/// The one event that a stored one stands for.
fn only(stored: &RecordedEvent) -> OrderEvent {
    let mut decoded = OrderEvent::decode(stored).expect("it is one of theirs");
    decoded.next().expect("nothing is dropped")
}

#[test]
fn stored_json_is_plain_and_comes_back() {
    let cases = [
        (
            placed(Some("hi")),
            "order-placed",
            r#"{"customerId":7,"lines":[{"sku":"A"}],"giftNote":"hi","total":1250,"type":"web"}"#,
        ),
        (
            placed(None),
            "order-placed",
            r#"{"customerId":7,"lines":[{"sku":"A"}],"total":1250,"type":"web"}"#,
        ),
        (OrderEvent::Paid(Payment { method: "card".into() }), "Paid", r#"{"method":"card"}"#),
        (OrderEvent::Noted("brittle".into()), "Noted", r#"{"words":"brittle"}"#),
        (OrderEvent::Shipped {}, "Shipped", "{}"),
        (OrderEvent::Closed, "Closed", "{}"),
    ];
    for (event, event_type, json) in cases {
        let new = event.encode().unwrap();
        assert_eq!(new.event_type.as_str(), event_type);
        assert_eq!(std::str::from_utf8(&new.data.bytes).unwrap(), json);
        assert_eq!(only(&stored(new)), event);
    }
    let known = ["order-placed", "Paid", "Noted", "Shipped", "Closed"];
    let shapes: Vec<_> = OrderEvent::SHAPES.iter().map(|shape| shape.name).collect();
    assert_eq!(shapes, known);
}

#[test]
fn schema_versions_and_tags_are_those_of_the_attributes() {
    let new = placed(None).encode().unwrap();
    assert_eq!(new.schema_version, 2);
    let tags: Vec<_> = new.tags.iter().map(annals::Tag::as_str).collect();
    assert_eq!(tags, ["customer:7"]);
    let new = OrderEvent::Closed.encode().unwrap();
    assert_eq!((new.schema_version, new.tags.len()), (1, 0));
    assert_ne!(new.id, OrderEvent::Closed.encode().unwrap().id);
}

#[test]
fn the_subject_is_a_tag_and_what_is_not_there_is_none() {
    #[derive(Event)]
    enum Visit {
        Planned {
            #[event(subject, tag = "guest")]
            guest: Option<u32>,
            #[event(tag = "room")]
            room: Option<String>,
        },
        Arrived {
            #[event(subject)]
            guest: Box<u32>,
        },
    }
    let tags = |visit: Visit| -> Vec<String> {
        let new = visit.encode().unwrap();
        new.tags.iter().map(ToString::to_string).collect()
    };
    let planned = Visit::Planned { guest: Some(7), room: None };
    assert_eq!(tags(planned), ["subject:7", "guest:7"]);
    assert_eq!(tags(Visit::Planned { guest: None, room: None }), [""; 0]);
    assert_eq!(tags(Visit::Arrived { guest: Box::new(7) }), ["subject:7"]);
}

#[test]
fn events_of_other_programs_load_when_they_have_the_fields() {
    let more = r#" { "type": "phone", "total": 1, "lines": [], "customerId": 1, "extra": [1] } "#;
    let event = only(&foreign("order-placed", 2, Data::json(more)));
    assert!(
        matches!(&event, OrderEvent::Placed { r#type, gift_note: None, .. } if r#type == "phone"),
        "{event:?}"
    );
    let closed = foreign("Closed", 1, Data::json(r#"{"by":"somebody"}"#));
    assert_eq!(only(&closed), OrderEvent::Closed);
}

#[test]
fn what_does_not_fit_is_an_error_that_says_what_to_do() {
    let fault = |event: RecordedEvent| -> DecodeError { OrderEvent::decode(&event).unwrap_err() };
    let missing = fault(foreign("Paid", 1, Data::json("{}")));
    assert!(matches!(missing.fault, DecodeFault::Data(_)), "{missing:?}");
    let source = std::error::Error::source(&missing).unwrap().to_string();
    assert!(source.contains("missing field `method`"), "{source}");
    assert!(!missing.to_string().contains(&source), "{missing}");

    let newer = fault(foreign("Paid", 2, Data::json(r#"{"method":"card"}"#)));
    assert_eq!(
        newer.to_string(),
        "Paid at version 1 of stream order-1 has schema version 2, but this program knows \
         version 1; run the program that wrote it, or set `#[event(version = ..)]`"
    );

    let content_type = ContentType::new("application/cbor").unwrap();
    let bytes = bytes::Bytes::from_static(b"\xa0");
    let cbor = fault(foreign("Closed", 1, Data { content_type, bytes }));
    assert!(matches!(cbor.fault, DecodeFault::ContentType { .. }), "{cbor:?}");
}

#[test]
fn an_event_that_cannot_be_stored_says_why() {
    #[derive(Event)]
    enum Tagged {
        Happened {
            #[event(tag = "place")]
            place: String,
        },
    }
    let place = String::new();
    let error = Tagged::Happened { place }.encode().unwrap_err();
    assert!(matches!(error.fault, EncodeFault::Tag { key: "place", .. }), "{error:?}");
    assert!(error.to_string().starts_with("Happened cannot be tagged"), "{error}");
    assert!(Tagged::Happened { place: "here".into() }.encode().is_ok());

    #[derive(Event)]
    enum Mapped {
        Happened { map: std::collections::BTreeMap<(u8, u8), u8> },
    }
    let map = [((1, 2), 3)].into();
    let error = Mapped::Happened { map }.encode().unwrap_err();
    assert!(matches!(error.fault, EncodeFault::Data(_)), "{error:?}");
}

#[test]
fn data_that_are_no_object_are_refused() {
    #[derive(Event)]
    enum Renamed {
        NameGiven(String),
        Moved(Option<u8>),
        Listed(Vec<u8>),
    }
    for event in [Renamed::NameGiven("x".into()), Renamed::Moved(None), Renamed::Listed(vec![])] {
        let error = event.encode().unwrap_err().to_string();
        assert!(
            error.contains("is not a JSON object; hold a struct, or name the field"),
            "{error}"
        );
    }
    let error = Renamed::NameGiven("x".into()).encode().unwrap_err();
    assert!(error.to_string().starts_with("NameGiven holds a value that"), "{error}");
}
