//! Reading the log and subscribing to it, with events in their newest shapes.

use annals::{
    Annals, EventStoreExt, EventType, ExpectedVersion, LoadError, MemoryStore, Notice, Part, Query,
    QueryItem, Read, RecordedEvent, StreamId, Subscribe, Tag, Upcasters,
};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::upcast::{log, old};

fn upcasters() -> Upcasters {
    Upcasters::new()
        .rename("Deposited", "MoneyDeposited")
        .drop_type("Trace")
        .split("Transferred", 1, &["Withdrawn", "Deposited", "Trace"], |_| {
            ["Withdrawn", "Trace", "Deposited"].map(|name| Part::new(name, 1, json!({}))).into()
        })
        .upcast("Opened", 1, |data| {
            data.insert("by".into(), "nobody".into());
        })
}

/// Positions go on from 1.
async fn bank() -> Annals {
    let names =
        ["Opened", "Trace", "Deposited", "Transferred", "Trace", "Withdrawn", "MoneyDeposited"];
    let store = log("account-1", names.map(|name| old(name, 1, "{}"))).await;
    Annals::new(store).with_upcasters(&upcasters())
}

fn of(names: &[&'static str]) -> Query {
    Query::of(QueryItem::new().types(names.iter().map(|name| EventType::from_static(name))))
}

fn shown(event: &RecordedEvent) -> String {
    format!("{}@{}", event.event_type, event.version)
}

async fn read(bank: &Annals, read: Read) -> Vec<String> {
    let read = bank.read(read).map_ok(|event| shown(&event)).try_collect::<Vec<_>>().await;
    read.expect("it is read")
}

#[tokio::test]
async fn all_events_are_read_as_they_are_now() {
    let bank = bank().await;
    let all = [
        "Opened@1",
        "MoneyDeposited@3",
        "Withdrawn@4",
        "MoneyDeposited@4",
        "Withdrawn@6",
        "MoneyDeposited@7",
    ];
    assert_eq!(read(&bank, Read::all()).await, all);
    let stream = Read::stream(StreamId::from_static("account-1"));
    assert_eq!(read(&bank, stream.clone()).await, all);
    let mut reversed = all;
    reversed.reverse();
    assert_eq!(read(&bank, stream.backward()).await, reversed);
    let opened = bank.read(Read::all()).try_next().await.unwrap().unwrap();
    assert_eq!((opened.schema_version, &opened.data.bytes[..]), (2, &br#"{"by":"nobody"}"#[..]));
}

#[tokio::test]
async fn a_type_is_found_under_every_name_it_was_stored_with() {
    let bank = bank().await;
    let cases: [(&[&str], &[&str]); 5] = [
        (&["MoneyDeposited"], &["MoneyDeposited@3", "MoneyDeposited@4", "MoneyDeposited@7"]),
        (&["Withdrawn"], &["Withdrawn@4", "Withdrawn@6"]),
        (&["Opened", "Withdrawn"], &["Opened@1", "Withdrawn@4", "Withdrawn@6"]),
        // There are no such events any more.
        (&["Deposited"], &[]),
        (&["Transferred", "Trace"], &[]),
    ];
    for (names, expected) in cases {
        assert_eq!(read(&bank, Read::query(of(names))).await, expected, "{names:?}");
    }
}

#[tokio::test]
async fn a_limit_counts_what_is_read_and_takes_nothing_apart() {
    let bank = bank().await;
    let deposits = || Read::query(of(&["MoneyDeposited"]));
    assert_eq!(read(&bank, deposits().limit(2)).await, ["MoneyDeposited@3", "MoneyDeposited@4"]);
    assert_eq!(read(&bank, Read::all().limit(2)).await, ["Opened@1", "MoneyDeposited@3"]);
    assert_eq!(read(&bank, Read::all().limit(0)).await, [""; 0]);
    let back = Read::all().backward().limit(2);
    assert_eq!(read(&bank, back).await, ["MoneyDeposited@7", "Withdrawn@6"]);
    // The two parts of the fourth event come together.
    let three = ["Opened@1", "MoneyDeposited@3", "Withdrawn@4", "MoneyDeposited@4"];
    assert_eq!(read(&bank, Read::all().limit(3)).await, three);

    // Whoever reads page by page meets each event once.
    for limit in 1..8 {
        let mut pages = Vec::new();
        let mut after = annals::Position::START;
        loop {
            let page = bank.read(Read::all().after(after).limit(limit));
            let page: Vec<_> = page.try_collect().await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            pages.extend(page.iter().map(shown));
        }
        assert_eq!(pages, read(&bank, Read::all()).await, "pages of {limit}");
    }
}

#[tokio::test]
async fn tags_stay_as_they_were_stored() {
    let store = MemoryStore::new();
    let tagged = old("Deposited", 1, "{}").tagged(Tag::from_static("branch:7"));
    let stream = StreamId::from_static("account-1");
    let events = [tagged, old("Deposited", 1, "{}")];
    store.append_to(stream, ExpectedVersion::Any, events).await.unwrap();
    let bank = Annals::new(store).with_upcasters(&upcasters());
    let deposited = QueryItem::new().event_type(EventType::from_static("MoneyDeposited"));
    let query = Query::of(deposited.tag(Tag::from_static("branch:7")));
    assert_eq!(read(&bank, Read::query(query)).await, ["MoneyDeposited@1"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_an_error_in_its_place() {
    let events = [old("Deposited", 1, "{}"), old("Opened", 1, "[]"), old("Deposited", 1, "{}")];
    let bank = Annals::new(log("account-1", events).await).with_upcasters(&upcasters());
    let read: Vec<_> = bank.read(Read::all()).collect().await;
    assert!(matches!(read[1], Err(LoadError::Decode(_))), "{read:?}");
    assert!(read.len() == 3 && read[0].is_ok() && read[2].is_ok(), "{read:?}");

    let mut notices = bank.subscribe(Subscribe::all());
    let mut failed = 0;
    loop {
        match notices.next().await.expect("it goes on") {
            Ok(Notice::CaughtUp(_)) => break,
            Ok(Notice::Event(_)) => {}
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn what_is_invalid_is_told_as_by_the_store() {
    let bank = bank().await;
    let wrong = Read::all().from_version(annals::Version::new(2));
    let error = bank.read(wrong).try_next().await.unwrap_err();
    assert_eq!(error.code(), "invalid");
}

#[tokio::test]
async fn a_subscriber_receives_what_is_stored_and_what_comes_as_it_is_now() {
    let bank = bank().await;
    let mut notices = bank.subscribe(Subscribe::query(of(&["MoneyDeposited"])));
    let mut seen = Vec::new();
    loop {
        match notices.next().await.expect("it goes on").unwrap() {
            Notice::Event(event) => seen.push(shown(&event)),
            Notice::CaughtUp(position) if seen.len() == 3 => {
                assert_eq!(position, bank.store().head().await.unwrap());
                let stream = StreamId::from_static("account-1");
                let event = [old("Transferred", 1, "{}")];
                bank.store().append_to(stream, ExpectedVersion::Any, event).await.unwrap();
            }
            Notice::CaughtUp(_) => break,
        }
    }
    let expected = ["MoneyDeposited@3", "MoneyDeposited@4", "MoneyDeposited@7", "MoneyDeposited@8"];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn without_upcasters_everything_is_as_it_is_stored() {
    let store = log("account-1", [old("Transferred", 1, "{}"), old("Trace", 1, "{}")]).await;
    let bank = Annals::new(store);
    assert_eq!(read(&bank, Read::all().backward().limit(1)).await, ["Trace@2"]);
    assert_eq!(read(&bank, Read::query(of(&["Transferred"]))).await, ["Transferred@1"]);
}
