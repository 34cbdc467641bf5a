//! What the wire says, and what it becomes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use annals_api::{AppendRequest, Event, Malformed};
use annals_core::{
    Append, ContentType, Data, EventId, EventType, ExpectedVersion, Limits, Metadata, Position,
    RecordedEvent, StreamId, Tag, Tags, Timestamp, Version,
};
use serde_json::Value;

fn append(json: &str) -> Result<Append, Malformed> {
    AppendRequest::from_json(json.as_bytes())?.into_append(&Limits::DEFAULT)
}

fn recorded(data: Data) -> RecordedEvent {
    RecordedEvent {
        position: Position::new(7),
        stream: StreamId::from_static("account-1"),
        version: Version::new(3),
        id: EventId::from_bytes([1; 16]),
        event_type: EventType::from_static("MoneyDeposited"),
        schema_version: 2,
        data,
        metadata: Metadata::from_json("{ \"actor\":\n1 }").unwrap(),
        tags: Tags::new(&[Tag::from_static("b:2"), Tag::from_static("a:1")]),
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::from_micros(1),
    }
}

fn fields(event: &RecordedEvent) -> Value {
    serde_json::from_slice(&Event::of(event).unwrap().to_json()).unwrap()
}

/// The order and the names of the fields are what programs and people got used to.
#[test]
fn an_event_has_one_form() {
    let event = recorded(Data::json("{\"amount\" :\r\n1.0}"));
    let expected = concat!(
        r#"{"position":7,"stream":"account-1","version":3,"#,
        r#""id":"01010101-0101-0101-0101-010101010101","type":"MoneyDeposited","schema_version":2,"#,
        "\"data\":{\"amount\" :\r\n1.0},\"metadata\":{ \"actor\":\n1 },",
        r#""tags":["a:1","b:2"],"occurred_at":"1970-01-01T00:00:00Z","#,
        r#""recorded_at":"1970-01-01T00:00:00.000001Z"}"#
    );
    let event = Event::of(&event).unwrap();
    assert_eq!(String::from_utf8(event.to_json()).unwrap(), expected);
    let line = expected.replace(['\r', '\n'], " ");
    assert_eq!(String::from_utf8(event.to_json_line()).unwrap(), line);
}

/// Whatever JSON could not carry exactly goes as base64.
#[test]
fn data_that_is_not_exactly_a_json_value_goes_as_base64() {
    for (data, base64) in [
        (" 1", "IDE="),
        ("1\n", "MQo="),
        ("", ""),
        ("{", "ew=="),
        ("1 2", "MSAy"),
        ("\u{feff}1", "77u/MQ=="),
    ] {
        let event = fields(&recorded(Data::json(data)));
        assert_eq!(
            (event.get("data"), event["data_base64"].as_str()),
            (None, Some(base64)),
            "{data:?}"
        );
    }
    let content_type = ContentType::new("application/vnd.bank+json").unwrap();
    let event = fields(&recorded(Data { content_type, bytes: "1".into() }));
    assert_eq!(
        (&event["data"], &event["content_type"]),
        (&1.into(), &"application/vnd.bank+json".into())
    );
}

#[test]
fn null_is_data_and_nothing_is_an_empty_object() {
    let json = r#"{"streams":[{"stream":"a-1","events":[{"type":"A","data":null},{"type":"A"}]}]}"#;
    let append = append(json).unwrap();
    let data: Vec<_> = append.events().map(|event| &event.data.bytes[..]).collect();
    assert_eq!(data, [&b"null"[..], b"{}"]);
}

/// Stores count on positions and versions being in range.
#[test]
fn numbers_out_of_range_are_held_to_the_last() {
    let json = r#"{"streams":[{"stream":"a-1","expected":{"exact":18446744073709551615}}],
        "conditions":[{"query":{"items":[]},"after":18446744073709551615}]}"#;
    let append = append(json).unwrap();
    assert_eq!(append.streams[0].expected, ExpectedVersion::Exact(Version::END));
    assert_eq!(append.conditions[0].after, Position::END);
}

#[test]
fn too_much_is_refused_before_it_is_made() {
    let events = vec!["1"; Limits::DEFAULT.append_events_max + 1].join(",");
    let json = format!(r#"{{"streams":[{{"stream":"a-1","events":[{events}]}}]}}"#);
    assert!(matches!(append(&json), Err(Malformed::Invalid(_))), "numbers would be no events");
    let conditions = vec!["1"; Limits::DEFAULT.append_conditions_max + 1].join(",");
    let json = format!(r#"{{"streams":[],"conditions":[{conditions}]}}"#);
    assert!(matches!(append(&json), Err(Malformed::Invalid(_))), "numbers would be no conditions");
}
