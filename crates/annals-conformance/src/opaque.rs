//! S10: data, metadata and names come back byte for byte, whatever they look like.

use annals_core::{
    Append, AppendCondition, ContentType, Data, EventId, ExpectedVersion, Metadata, NewEvent,
    Query, QueryItem, Read, StreamId, Subscribe, Tags,
};

use crate::Backend;
use crate::probe::{Probe, line};
use crate::words::{event, event_type, events, stream, tag, tagged};

use ExpectedVersion::{Any, NoStream};

/// Everything an event carries, read back in every way there is.
pub(crate) async fn s10_events_come_back_as_they_were_given(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut given = Vec::new();
    for (n, text) in hostile_texts().into_iter().enumerate() {
        let mut made = NewEvent::new(event_type(&text), Data::json(text.clone()));
        made.schema_version = [0, 1, 2, u32::MAX][n % 4];
        made.metadata = Metadata::empty().with(&text, text.clone());
        given.push(made.tagged(tag(format!("k:{text}"))).tagged(tag(format!("{text}:v"))));
    }
    store.accepts(Append::to(stream("a-1"), Any, given.clone())).await;
    let mut backward = store.read(Read::stream(stream("a-1")).backward()).await;
    backward.reverse();
    let (followed, _) = store.subscribe(Subscribe::all()).until_caught_up().await;
    for found in [store.log().await, backward, followed] {
        assert_eq!(found.len(), given.len());
        for (given, found) in given.iter().zip(found) {
            same_as_given(given, &found);
        }
    }
}

fn same_as_given(given: &NewEvent, found: &annals_core::RecordedEvent) {
    let at = line(found);
    assert_eq!(found.id, given.id, "the id of {at}");
    assert_eq!(found.event_type, given.event_type, "the type of {at}");
    assert_eq!(found.schema_version, given.schema_version, "the schema version of {at}");
    assert_eq!(found.data.content_type, given.data.content_type, "the content type of {at}");
    assert!(
        found.data.bytes == given.data.bytes,
        "the data of {at}\n  given {:?}\n  found {:?}",
        String::from_utf8_lossy(&given.data.bytes),
        String::from_utf8_lossy(&found.data.bytes),
    );
    assert!(
        found.metadata.as_json() == given.metadata.as_json(),
        "the metadata of {at}\n  given {:?}\n  found {:?}",
        given.metadata,
        found.metadata,
    );
    assert_eq!(found.tags, Tags::new(&given.tags), "the tags of {at}");
}

/// Texts as bytes: valid and broken JSON of every kind, and bytes that are no text at all.
pub(crate) async fn s10_data_is_not_looked_into(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let json: [&[u8]; 16] = [
        b"",
        b" ",
        b"null",
        b"{}",
        b"{ \"b\" : 1 ,\n\t\"a\":2 }\r\n",
        b"{\"a\":1,\"a\":2}",
        b"{\"n\":1.0,\"m\":1e2,\"big\":12345678901234567890123,\"minus\":-0}",
        b"{\"nul\":\"\\u0000\",\"slash\":\"\\/\",\"snowman\":\"\\u2603\"}",
        b"{\"lone\":\"\\ud800\"}",
        b"[1,2,]",
        b"{not json",
        b"\xef\xbb\xbf{}",
        b"\0",
        b"a\0b\0",
        b"\xff\xfe\x00\x01",
        b"'; DROP TABLE events; --",
    ];
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut given = json.map(|bytes| Data::json(bytes.to_vec())).to_vec();
    for content_type in ["application/octet-stream", "text/plain; charset=utf-8", "x", "été/🦀"]
    {
        let content_type = ContentType::new(content_type).expect("a valid content type");
        for bytes in [b"{ \"a\" : 1 }".to_vec(), every_byte.clone(), Vec::new()] {
            let bytes = bytes.into();
            given.push(Data { content_type: content_type.clone(), bytes });
        }
    }
    let given: Vec<_> =
        given.into_iter().map(|data| NewEvent::new(event_type("Made"), data)).collect();
    store.accepts(Append::to(stream("a-1"), Any, given.clone())).await;
    for (given, found) in given.iter().zip(store.log().await) {
        same_as_given(given, &found);
    }
}

pub(crate) async fn s10_metadata_keeps_its_text(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let texts = [
        "{}",
        "{ \"b\": 1,\n  \"a\": 2 }",
        "{\"a\":1,\"a\":2}",
        "{\"n\":1.0,\"m\":1E2,\"big\":12345678901234567890123,\"minus\":-0}",
        "{\"nul\":\"\\u0000\",\"slash\":\"\\/\",\"snowman\":\"\\u2603\"}",
        "{\"\":{\"\":[[],{}]},\"'\":\"'; DROP TABLE events; --\",\"%\":\"_\"}",
        "{\"crab\":\"🦀\",\"rtl\":\"\u{202e}abc\"}",
    ];
    let given = texts.map(|text| {
        let metadata = Metadata::from_json(text).expect("a JSON object");
        assert_eq!(metadata.as_json(), text.as_bytes());
        event("Made").with_metadata(metadata)
    });
    store.accepts(Append::to(stream("a-1"), Any, given.clone())).await;
    for (given, found) in given.iter().zip(store.log().await) {
        same_as_given(given, &found);
    }
}

/// Ids are sixteen bytes, of any version or none.
pub(crate) async fn s10_ids_may_be_any_bytes(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut ids = vec![[0; 16], [255; 16], *b"'; DROP TABLE --"];
    ids.extend((1..=3).map(|n| {
        let mut bytes = [0; 16];
        bytes[15] = n;
        bytes
    }));
    let given: Vec<_> =
        ids.into_iter().map(|bytes| event("Made").with_id(EventId::from_bytes(bytes))).collect();
    let append = Append::to(stream("a-1"), Any, given.clone());
    let first = store.accepts(append.clone()).await;
    assert_eq!(store.accepts(append).await, first);
    for (given, found) in given.iter().zip(store.log().await) {
        same_as_given(given, &found);
    }
}

/// Tags are a set: order and repeats are dropped, and nothing else.
pub(crate) async fn s10_tags_are_sorted_without_repeats(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let given = ["b:2", "a:1", "b:2", "B:2", "a:10", "a:1"];
    let tagged_event = given.map(tag).into_iter().fold(event("Made"), NewEvent::tagged);
    store.accepts(Append::to(stream("a-1"), Any, [tagged_event])).await;
    let log = store.log().await;
    let found: Vec<_> = log[0].tags.iter().collect();
    assert_eq!(found, ["B:2", "a:1", "a:10", "b:2"]);
}

/// Names that look alike, and names that look like something else, are names of their own: as
/// streams …
pub(crate) async fn s10_streams_with_hostile_names_stay_apart(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let names: Vec<StreamId> = hostile_texts().iter().map(stream).collect();
    for _ in 0..2 {
        let append = names.iter().fold(Append::default(), |append, name| {
            append.and_to(name.clone(), Any, events("Made", 1))
        });
        store.accepts(append).await;
    }
    let log = store.log().await;
    assert_eq!(log.len(), 2 * names.len());
    for name in &names {
        let read = store.read(Read::stream(name.clone())).await;
        let asked = store.read(Read::query(Query::stream(name.clone()))).await;
        for found in [read, asked] {
            let found: Vec<_> = found.iter().map(|e| (&e.stream, e.version.get())).collect();
            assert_eq!(found, [(name, 1), (name, 2)]);
        }
        let in_category = Query::of(QueryItem::new().category(name.category()));
        let found = store.read(Read::query(in_category)).await;
        let expected = log.iter().filter(|event| event.stream.category() == name.category());
        assert_eq!(found.len(), expected.count(), "events in category {}", name.category());
    }
    let doomed = names.iter().fold(Append::default(), |append, name| {
        append.and_to(name.clone(), NoStream, events("Made", 1))
    });
    store.conflicts(doomed).await;
}

/// … as types …
pub(crate) async fn s10_types_with_hostile_names_stay_apart(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let texts = hostile_texts();
    let given: Vec<_> =
        texts.iter().map(|text| NewEvent::new(event_type(text), Data::json("{}"))).collect();
    store.accepts(Append::to(stream("a-1"), Any, given)).await;
    for text in &texts {
        let query = Query::of(QueryItem::new().event_type(event_type(text)));
        let found = store.read(Read::query(query)).await;
        let found: Vec<_> = found.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(found, [text]);
    }
}

/// … and as tags, in reads and in conditions.
pub(crate) async fn s10_tags_with_hostile_values_stay_apart(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let tags: Vec<_> = hostile_texts().iter().map(|text| format!("k:{text}")).collect();
    let made = |text: &String| event("Made").tagged(tag(text));
    let (stored, absent): (Vec<_>, Vec<_>) = tags.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let given = stored.iter().map(|(_, text)| made(text));
    store.accepts(Append::to(stream("a-1"), Any, given)).await;
    let free = |text: &String| AppendCondition::none_match(tagged([text.as_str()]));
    for (_, text) in stored {
        let found = store.read(Read::query(tagged([text.as_str()]))).await;
        assert_eq!(found.len(), 1, "events tagged {text:?}");
        assert_eq!(found[0].tags, Tags::new(&[tag(text)]));
        store.conflicts(Append::to(stream("b-1"), Any, [event("Made")]).only_if(free(text))).await;
    }
    let fine = absent.iter().fold(
        Append::to(stream("b-1"), NoStream, absent.iter().map(|(_, text)| made(text))),
        |append, (_, text)| append.only_if(free(text)),
    );
    store.accepts(fine).await;
}

/// Texts that are valid in every name, and that somebody will not treat as text. Neighbours are
/// look-alikes.
fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a",
        "A",
        "а",
        "ａ",
        "1",
        "01",
        "null",
        "NULL",
        "café",
        "cafe\u{301}",
        "straße",
        "strasse",
        "İ",
        "i\u{307}",
        "a b",
        "a  b",
        "a_b",
        "a%b",
        "%",
        "_",
        "%25",
        "*",
        "?",
        "#",
        "&a=b",
        "+",
        "/",
        "..",
        "a/b",
        "a\\b",
        "\"a\"",
        "'a'",
        "`a`",
        "$1",
        "?1",
        "a:b:c",
        "${a}",
        "{0}",
        "a'; DROP TABLE events; --",
        "<script>",
        "🦀",
        "👩\u{200d}🔬",
        "👩🔬",
        "\u{202e}abc",
        "\u{feff}a",
        "a\u{200b}",
        "\u{10ffff}",
        "שלום",
        "a\u{301}\u{302}",
        "a\u{302}\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    // The longest that every name allows together with a short key, and one letter less.
    texts.extend([254, 253].map(|length| "x".repeat(length)));
    texts
}
