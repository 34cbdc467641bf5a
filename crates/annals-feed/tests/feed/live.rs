//! Live feeds: no gap and no repeat, from whatever cursor.

use std::time::Duration;

use annals::{
    Annals, Data, EventStoreExt, EventType, ExpectedVersion, MemoryStore, NewEvent, Part, Upcasters,
};
use annals_feed::{Entry, Feed, FeedDefinition, Filter, Live, LiveCursor, LiveNotice};
use futures_util::StreamExt;
use serde_json::json;

use crate::places::{Happened, Place, SOON, in_each_place};

in_each_place![a_live_feed_goes_on_from_a_page, a_split_event_is_resumed_between_its_parts];

async fn next(live: &mut Live) -> LiveNotice {
    let notice = tokio::time::timeout(SOON, live.next()).await.expect("something comes");
    notice.expect("a live feed goes on").unwrap()
}

async fn next_entry(live: &mut Live) -> (LiveCursor, Entry) {
    loop {
        if let LiveNotice::Entry(cursor, entry) = next(live).await {
            return (cursor, *entry);
        }
    }
}

async fn a_live_feed_goes_on_from_a_page(place: Place) {
    let said = |n: i32| Happened::new("ada", "Said", "talk-1").data(json!({ "n": n }));
    let (feed, running) = place.feed_of([said(1), said(2)]).await;
    let ada = Filter::new().by("ada").search("3 OR");
    let page = feed.activity(Filter::new()).page().await.unwrap();
    let from = page.live_from.to_string().parse().unwrap();
    let mut live = feed.live(&place.app, Filter::new().by("ada"), Some(from)).unwrap();
    let mut strict = feed.live(&place.app, ada, Some(from)).unwrap();
    let mut elsewhere = feed
        .live(&place.app, Filter::new().in_category("issue".parse().unwrap()), Some(from))
        .unwrap();
    assert_eq!(next(&mut strict).await, LiveNotice::CaughtUp(from));
    place.append([Happened::new("eve", "Said", "talk-1"), said(3), said(4)]).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (cursor, entry) = next_entry(&mut live).await;
        seen.push(entry.data["n"].as_i64().unwrap());
        // Whoever was cut off here goes on with the next.
        let again = feed.live(&place.app, Filter::new(), Some(cursor.to_string().parse().unwrap()));
        if seen.len() == 1 {
            assert_eq!(next_entry(&mut again.unwrap()).await.1.data["n"], 4);
        }
    }
    assert_eq!(seen, [3, 4]);
    loop {
        match next(&mut elsewhere).await {
            LiveNotice::CaughtUp(reached) if reached != from => break,
            LiveNotice::CaughtUp(_) => {}
            LiveNotice::Entry(_, entry) => panic!("{entry:?} is of no issue"),
        }
    }
    let mut from_now = feed.live(&place.app, Filter::new(), None).unwrap();
    assert!(matches!(next(&mut from_now).await, LiveNotice::CaughtUp(_)));
    place.append([said(5)]).await;
    assert_eq!(next_entry(&mut from_now).await.1.data["n"], 5);
    running.stop().await;
}

/// `MoneyMoved` has become two events.
fn upcasters() -> Upcasters {
    Upcasters::new().split("MoneyMoved", 1, &["MoneyTaken", "MoneyGiven"], |data| {
        let part = |name| Part::new(name, 1, data.clone());
        vec![part("MoneyTaken"), part("MoneyGiven")]
    })
}

async fn a_split_event_is_resumed_between_its_parts(place: Place) {
    let app = place.app.clone().with_upcasters(&upcasters());
    let feed = place.feed(FeedDefinition::new("activity"));
    let running = app.project(feed.projector()).start();
    let moved = Happened::new("ada", "MoneyMoved", "account-1");
    let receipt = place.append([moved.clone(), moved]).await;
    running.wait_for(receipt.last_position, SOON).await.unwrap();
    let page = feed.activity(Filter::new()).page().await.unwrap();
    let types: Vec<_> = page.entries.iter().map(|e| (e.event_type.as_str(), e.part)).collect();
    let both = [("MoneyGiven", 1), ("MoneyTaken", 0)];
    assert_eq!(types, [both, both].concat());
    // Newest first, one by one:
    assert_eq!(crate::places::in_pages(&feed, &Filter::new(), 1).await, page.entries);

    let mut expected = page.entries;
    expected.reverse();
    let mut after = LiveCursor::after(annals::Position::START);
    for entry in expected {
        let mut live = feed.live(&app, Filter::new(), Some(after)).unwrap();
        let (cursor, next) = next_entry(&mut live).await;
        assert_eq!(next, entry);
        after = cursor.to_string().parse().unwrap();
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn server_sent_events_carry_cursors_and_beat() {
    let store = MemoryStore::new();
    let app = Annals::new(store.clone());
    let feed = Feed::in_memory(FeedDefinition::new("activity"));
    let said = NewEvent::new(EventType::from_static("Said"), Data::json("{\"a\":\"x\\n\\ny\"}"));
    store.append_to("talk-1".parse().unwrap(), ExpectedVersion::Any, [said]).await.unwrap();
    let start = LiveCursor::after(annals::Position::START);
    let live = feed.live(&app, Filter::new(), Some(start)).unwrap();
    let mut events = Box::pin(live.sse(Duration::from_secs(15)));
    let mut next = async || {
        let bytes = events.next().await.unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let event = next().await;
    let lines: Vec<_> = event.lines().collect();
    assert!(event.ends_with("\n\n"), "{event:?}");
    assert_eq!(lines.len(), 4, "{event:?}");
    assert_eq!((lines[0], lines[1], lines[3]), ("id: live1.2.1", "event: entry", ""));
    let entry: Entry = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(entry.data["a"], "x\n\ny");
    assert_eq!(next().await, "id: live1.2\n\n");
    let before = tokio::time::Instant::now();
    assert_eq!(next().await, ": heartbeat\n\n");
    assert_eq!(before.elapsed().as_secs(), 15);
}
