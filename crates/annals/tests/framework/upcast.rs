//! How events in older shapes are read.

use annals::{
    Aggregate, Annals, Apply, ContentType, Data, DecodeError, DecodeFault, Event, EventStoreExt,
    EventType, ExpectedVersion, LoadError, MemoryStore, NewEvent, Part, RecordedEvent, StreamId,
    Upcasters, Version,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An event as some program of the past stored it.
pub(crate) fn old(event_type: &str, schema_version: u32, data: impl Into<String>) -> NewEvent {
    let mut event = NewEvent::new(EventType::new(event_type).unwrap(), Data::json(data.into()));
    event.schema_version = schema_version;
    event
}

/// A log with these events in one stream.
pub(crate) async fn log(
    stream: &'static str,
    events: impl IntoIterator<Item = NewEvent>,
) -> MemoryStore {
    let store = MemoryStore::new();
    let events: Vec<_> = events.into_iter().collect();
    let stream = StreamId::from_static(stream);
    store.append_to(stream, ExpectedVersion::Any, events).await.unwrap();
    store
}

async fn stored(event: NewEvent) -> RecordedEvent {
    let store = log("customer-c1", [event]).await;
    store.read_to_end(annals::Read::all()).await.unwrap().remove(0)
}

async fn decoded_as<E: Event>(event: NewEvent) -> Result<Vec<E>, DecodeError> {
    E::decode(&stored(event).await).map(Iterator::collect)
}

async fn decoded(event: NewEvent) -> Result<Vec<CustomerEvent>, DecodeError> {
    decoded_as(event).await
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(upcasters = of_customers)]
enum CustomerEvent {
    #[event(version = 2)]
    AddressUpdated {
        customer_id: String,
        street: String,
        city: String,
        country: String,
    },
    #[event(version = 3)]
    Named {
        first: String,
        last: String,
        title: Option<String>,
    },
    #[event(version = 4)]
    Greeted {
        words: Vec<String>,
    },
    Left,
    Paid {
        amount: u128,
        exact: f64,
    },
}

fn of_customers() -> Upcasters {
    #[derive(Deserialize)]
    struct V1 {
        name: String,
    }
    #[derive(Serialize)]
    struct V2 {
        first: String,
        last: String,
    }
    Upcasters::new()
        .upcast("AddressUpdated", 1, |data| {
            if let Some(user) = data.remove("user_id") {
                data.insert("customer_id".into(), user);
            }
            data.entry("country").or_insert("USA".into());
        })
        .upcast_typed("Named", 1, |V1 { name }| {
            let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
            V2 { first: first.to_owned(), last: last.to_owned() }
        })
        .upcast("Named", 2, |data| {
            data.insert("title".into(), "Dr".into());
        })
        // It was `Hailed` at first, then `Welcomed`, and lived on under each name.
        .upcast("Hailed", 1, |data| push(data, "hailed"))
        .rename("Hailed", "Welcomed")
        .upcast("Welcomed", 2, |data| push(data, "welcomed"))
        .rename("Welcomed", "Greeted")
        .upcast("Greeted", 3, |data| push(data, "greeted"))
        // One event told of several things.
        .split("Arrived", 1, &["Hailed", "Named", "Trace", "Left"], |data| {
            let name = data["name"].clone();
            vec![
                Part::new("Named", 1, json!({ "name": name })),
                Part::new("Trace", 1, json!({})),
                Part::new("Hailed", 1, json!({ "words": [] })),
            ]
        })
        .drop_type("Trace")
        .rename("Charged", "Paid")
}

fn push(data: &mut serde_json::Map<String, Value>, word: &str) {
    data["words"].as_array_mut().expect("it has words").push(word.into());
}

#[tokio::test]
async fn an_address_is_read_in_its_newest_shape() {
    let address = |country: &str| CustomerEvent::AddressUpdated {
        customer_id: "c1".into(),
        street: "Elm St 1".into(),
        city: "Springfield".into(),
        country: country.into(),
    };
    let first = r#"{"user_id":"c1","street":"Elm St 1","city":"Springfield"}"#;
    assert_eq!(decoded(old("AddressUpdated", 1, first)).await.unwrap(), [address("USA")]);
    let with_country = first.replace('}', r#","country":"France"}"#);
    assert_eq!(decoded(old("AddressUpdated", 1, with_country)).await.unwrap(), [address("France")]);
    let now = address("Chile").encode().unwrap();
    assert_eq!(now.schema_version, 2);
    assert_eq!(decoded(now).await.unwrap(), [address("Chile")]);
}

#[tokio::test]
async fn steps_follow_each_other_from_wherever_an_event_stands() {
    let named = |title: Option<&str>| CustomerEvent::Named {
        first: "Ada".into(),
        last: "Lovelace".into(),
        title: title.map(Into::into),
    };
    let (one, two) = (r#"{"name":"Ada Lovelace"}"#, r#"{"first":"Ada","last":"Lovelace"}"#);
    assert_eq!(decoded(old("Named", 1, one)).await.unwrap(), [named(Some("Dr"))]);
    assert_eq!(decoded(old("Named", 2, two)).await.unwrap(), [named(Some("Dr"))]);
    assert_eq!(decoded(old("Named", 3, two)).await.unwrap(), [named(None)]);
}

#[tokio::test]
async fn renamed_events_go_on_where_they_stand() {
    let greeted = |words: &[&str]| CustomerEvent::Greeted {
        words: words.iter().map(|w| (*w).into()).collect(),
    };
    let cases = [
        ("Hailed", 1, greeted(&["hailed", "welcomed", "greeted"])),
        ("Hailed", 2, greeted(&["welcomed", "greeted"])),
        ("Welcomed", 2, greeted(&["welcomed", "greeted"])),
        ("Welcomed", 3, greeted(&["greeted"])),
        ("Greeted", 3, greeted(&["greeted"])),
        ("Greeted", 4, greeted(&[])),
    ];
    for (name, version, expected) in cases {
        let event = old(name, version, r#"{"words":[]}"#);
        assert_eq!(decoded(event).await.unwrap(), [expected], "{name} {version}");
    }
}

#[tokio::test]
async fn an_event_is_split_into_others_which_are_upcast_in_turn() {
    let parts = decoded(old("Arrived", 1, r#"{"name":"Ada Lovelace"}"#)).await.unwrap();
    let expected = [
        CustomerEvent::Named {
            first: "Ada".into(),
            last: "Lovelace".into(),
            title: Some("Dr".into()),
        },
        CustomerEvent::Greeted {
            words: vec!["hailed".into(), "welcomed".into(), "greeted".into()],
        },
    ];
    assert_eq!(parts, expected);
    assert_eq!(decoded(old("Trace", 9, "{}")).await.unwrap(), []);
}

#[tokio::test]
async fn an_upcaster_that_cannot_says_which_and_why() {
    let cases = [
        ("Named", "{}", "Named", "missing field `name`"),
        ("AddressUpdated", "[1]", "AddressUpdated", "not an object but a list"),
        ("Arrived", r#""Ada""#, "Arrived", "not an object but a text"),
    ];
    for (name, data, of, why) in cases {
        let error = decoded(old(name, 1, data)).await.unwrap_err();
        let source = std::error::Error::source(&error).expect("it has a reason").to_string();
        assert!(source.contains(why), "{source}");
        assert!(error.to_string().contains(&format!("from version 1 of {of} ")), "{error}");
    }
    // A version that nothing leads away from is told with the one that the program knows.
    let error = decoded(old("Left", 3, "{}")).await.unwrap_err();
    let expected = DecodeFault::SchemaVersion { stored: 3, known: 1 };
    assert_eq!(error.fault.to_string(), expected.to_string());
}

#[tokio::test]
async fn an_upcaster_that_panics_says_so_of_the_event() {
    let upcasters = Upcasters::new()
        .upcast("Changed", 1, |data| {
            let _ = data["user"].clone();
        })
        .upcast_typed("Typed", 1, |(): ()| -> Value { panic!("cannot be") })
        .split("Split", 1, &["Changed"], |data| panic!("{} fields", data.len()));
    let cases = [
        ("Changed", "{}", "no entry"),
        ("Typed", "null", "cannot be"),
        ("Split", "{}", "0 fields"),
    ];
    for (name, data, why) in cases {
        let bank = log("customer-c1", [old(name, 1, data), old("Other", 1, "{}")]).await;
        let bank = Annals::new(bank).with_upcasters(&upcasters);
        let read = futures_util::StreamExt::collect::<Vec<_>>(bank.read(annals::Read::all())).await;
        let [Err(LoadError::Decode(error)), Ok(_)] = &read[..] else { panic!("{read:?}") };
        assert!(error.to_string().contains(&format!("from version 1 of {name} ")), "{error}");
        let source = std::error::Error::source(&**error).expect("it has a reason");
        let panicked = source.downcast_ref::<annals::Panicked>().expect("that it panicked");
        assert!(panicked.said.contains(why), "{panicked}");
    }
}

#[tokio::test]
async fn ways_in_a_circle_end_in_an_error() {
    fn around() -> Upcasters {
        Upcasters::new()
            .rename("Turned", "Spun")
            .rename("Spun", "Turned")
            .split("Doubled", 1, &["Doubled"], |_| {
                vec![Part::new("Doubled", 1, json!({})), Part::new("Doubled", 1, json!({}))]
            })
            .split("Made", 1, &["Happened"], |_| vec![Part::new("Invented", 1, json!({}))])
    }
    #[derive(Debug, Event)]
    #[event(upcasters = around)]
    enum Round {
        Happened,
    }
    for name in ["Turned", "Spun", "Doubled"] {
        let error = decoded_as::<Round>(old(name, 1, "{}")).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("in a circle"), "{source}");
        assert_eq!(around().leads_from(name, 1), None);
    }
    let error = decoded_as::<Round>(old("Made", 1, "{}")).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Invented, which is not announced"), "{source}");
    assert!(decoded_as::<Round>(Round::Happened.encode().unwrap()).await.is_ok());
}

#[tokio::test]
async fn what_no_upcaster_changes_keeps_its_bytes() {
    let exact = r#"{"exact":0.1000000000000000055511151231257827,"amount":340282366920938463463374607431768211455}"#;
    let paid = CustomerEvent::Paid { amount: u128::MAX, exact: 0.1 };
    // Read as JSON on the way, the amount would be lost.
    assert!(serde_json::from_str::<Value>(exact).unwrap()["amount"].as_u64().is_none());
    for name in ["Paid", "Charged"] {
        let read = decoded(old(name, 1, exact)).await.unwrap();
        assert_eq!(read, std::slice::from_ref(&paid), "{name}");
        let log = Annals::new(log("customer-c1", [old(name, 1, exact)]).await)
            .with_upcasters(CustomerEvent::upcasters());
        let read: Vec<_> = log.read(annals::Read::all()).try_collect().await.unwrap();
        assert_eq!(
            (read[0].event_type.as_str(), &read[0].data.bytes[..]),
            ("Paid", exact.as_bytes())
        );
    }
}

#[tokio::test]
async fn data_that_are_no_json_can_be_renamed_and_dropped_and_nothing_else() {
    let binary = |name| {
        let mut event = old(name, 1, "");
        let content_type = ContentType::new("application/cbor").unwrap();
        event.data = Data { content_type, bytes: bytes::Bytes::from_static(b"\xa0") };
        event
    };
    let error = decoded(binary("Named")).await.unwrap_err();
    assert!(matches!(error.fault, DecodeFault::ContentType { .. }), "{error:?}");
    assert_eq!(decoded(binary("Trace")).await.unwrap(), []);
    assert_eq!(decoded(old("Trace", 1, "no json")).await.unwrap(), []);
    let log = Annals::new(log("customer-c1", [binary("Charged")]).await)
        .with_upcasters(CustomerEvent::upcasters());
    let read: Vec<_> = log.read(annals::Read::all()).try_collect().await.unwrap();
    assert_eq!(read[0].event_type.as_str(), "Paid");
    assert_eq!(
        (read[0].data.content_type.as_str(), &read[0].data.bytes[..]),
        ("application/cbor", &b"\xa0"[..])
    );
}

/// Counts what it meets.
#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "customer", event = CustomerEvent)]
struct Customer {
    met: Vec<&'static str>,
}

impl Apply<CustomerEvent> for Customer {
    fn apply(&mut self, event: CustomerEvent) {
        self.met.push(match event {
            CustomerEvent::AddressUpdated { .. } => "address",
            CustomerEvent::Named { .. } => "named",
            CustomerEvent::Greeted { .. } => "greeted",
            CustomerEvent::Left => "left",
            CustomerEvent::Paid { .. } => "paid",
        });
    }
}

#[derive(Clone)]
struct Leave;

impl annals::Command<Customer> for Leave {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Customer) -> Result<Vec<CustomerEvent>, Self::Error> {
        Ok(vec![CustomerEvent::Left])
    }
}

#[tokio::test]
async fn versions_are_those_of_the_stored_events() {
    let arrived = || old("Arrived", 1, r#"{"name":"Ada"}"#);
    let events = [old("Trace", 1, "{}"), arrived(), old("Trace", 2, "{}")];
    let shop = Annals::new(log("customer-c1", events).await);
    let loaded = shop.load::<Customer>("c1").await.unwrap();
    assert_eq!(
        (&loaded.state.met[..], loaded.version),
        (&["named", "greeted"][..], Version::new(3))
    );
    let at_first = shop.load_as_of::<Customer>("c1", Version::FIRST).await.unwrap();
    assert_eq!((at_first.state.met.len(), at_first.version), (0, Version::FIRST));

    let left = shop.execute("c1", Leave).await.unwrap();
    assert_eq!(
        (&left.state.met[..], left.version),
        (&["named", "greeted", "left"][..], Version::new(4))
    );

    let history: Vec<_> = shop.history::<Customer>("c1").try_collect().await.unwrap();
    let versions: Vec<_> = history.iter().map(|recorded| recorded.stored.version.get()).collect();
    assert_eq!(versions, [2, 2, 4]);
    assert_eq!(history[0].stored.event_type.as_str(), "Arrived");
}

#[tokio::test]
async fn unknown_types_that_a_split_makes_are_passed_over_if_that_is_said() {
    fn apart() -> Upcasters {
        Upcasters::new()
            .split("Moved", 1, &["Left", "Entered"], |_| {
                vec![Part::new("Left", 1, json!({})), Part::new("Entered", 1, json!({}))]
            })
            .rename("Gone", "Vanished")
    }
    #[derive(Debug, PartialEq, Event)]
    #[event(upcasters = apart)]
    enum DoorEvent {
        Entered,
    }
    #[derive(Default, Aggregate)]
    #[aggregate(category = "door", event = DoorEvent, unknown = skip)]
    struct Lenient(u8);
    impl Apply<DoorEvent> for Lenient {
        fn apply(&mut self, DoorEvent::Entered: DoorEvent) {
            self.0 += 1;
        }
    }
    #[derive(Default, Aggregate)]
    #[aggregate(category = "door", event = DoorEvent)]
    struct Strict;
    impl Apply<DoorEvent> for Strict {
        fn apply(&mut self, _: DoorEvent) {}
    }
    let events = ["Moved", "Gone", "Entered", "Painted"].map(|name| old(name, 1, "{}"));
    let house = Annals::new(log("door-1", events).await);
    let loaded = house.load::<Lenient>("1").await.unwrap();
    assert_eq!((loaded.state.0, loaded.version.get()), (2, 4));
    match house.load::<Strict>("1").await {
        Err(LoadError::Decode(error)) => assert_eq!(error.event_type.as_str(), "Left"),
        other => panic!("{:?}", other.map(|loaded| loaded.version)),
    }
}

#[test]
fn ways_are_told_before_an_event_is_read() {
    let upcasters = of_customers();
    let to = |name: &str, version| Some((name.to_owned(), version));
    assert_eq!(upcasters.leads_from("AddressUpdated", 1), to("AddressUpdated", 2));
    assert_eq!(upcasters.leads_from("Hailed", 1), to("Greeted", 4));
    assert_eq!(upcasters.leads_from("Hailed", 7), to("Greeted", 7));
    assert_eq!(upcasters.leads_from("Paid", 1), to("Paid", 1));
    assert_eq!(upcasters.leads_from("Never", 1), to("Never", 1));
    assert_eq!(upcasters.leads_from("Arrived", 1), None);
    assert_eq!(upcasters.leads_from("Trace", 1), None);
    let renamed = Upcasters::new().rename("One", "Two").drop_type("Two");
    assert_eq!(renamed.leads_from("One", 1), None, "what is dropped in the end is not there");

    let mut stored = upcasters.stored_types("Greeted");
    stored.sort();
    assert_eq!(stored, ["Arrived", "Greeted", "Hailed", "Welcomed"]);
}

#[test]
fn upcasters_of_several_enums_are_joined() {
    let one = Upcasters::new().upcast("A", 1, |_| {}).rename("B", "C");
    let other = Upcasters::new().upcast("A", 2, |_| {}).drop_type("D");
    let both = one.clone().and(&other);
    assert_eq!(both.leads_from("A", 1), Some(("A".to_owned(), 3)));
    assert_eq!(both.leads_from("B", 1), Some(("C".to_owned(), 1)));
    assert_eq!(both.leads_from("D", 1), None);
    // The same once more is the same.
    let again = both.and(&one).and(&other);
    assert_eq!(again.leads_from("A", 1), Some(("A".to_owned(), 3)));

    let refused = [
        Upcasters::new().upcast("A", 1, |_| {}),
        Upcasters::new().rename("B", "E"),
        Upcasters::new().drop_type("B"),
    ];
    for refused in refused {
        let one = one.clone();
        let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one.and(&refused)));
        assert!(joined.is_err(), "{refused:?}");
    }
}
