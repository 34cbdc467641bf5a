//! Pages: cursors that hold, limits, and what entries refer to.

use std::collections::BTreeMap;
use std::convert::Infallible;

use annals::Position;
use annals_feed::{Activity, Entry, FeedDefinition, FeedError, Filter, InvalidCursor};
use serde_json::{Value, json};

use crate::places::{Happened, Place, SOON, Shared, in_each_place, in_pages, minute, positions};

in_each_place![
    pages_hold_while_entries_come_at_equal_moments,
    cursors_are_checked_and_limits_are_kept,
    what_a_page_refers_to_is_loaded_in_one_call,
    an_entry_says_what_its_event_said,
    a_feed_keeps_what_its_definition_says,
    a_feed_that_never_ran_says_so,
];

/// Ten entries at each of three moments.
fn crowd() -> impl Iterator<Item = Happened> {
    (0..30).map(|i| Happened::new("ada", "Counted", "count-1").moment(minute(i / 10)))
}

async fn pages_hold_while_entries_come_at_equal_moments(place: Place) {
    let (feed, running) = place.feed_of(crowd()).await;
    let before = in_pages(&feed, &Filter::new(), 200).await;
    let mut read: Vec<Entry> = Vec::new();
    let mut after = None;
    loop {
        let mut activity = feed.activity(Filter::new()).limit(4);
        if let Some(cursor) = after {
            activity = activity.after(cursor);
        }
        let page = activity.page().await.unwrap();
        assert!(page.entries.len() <= 4);
        read.extend(page.entries);
        let Some(next) = page.next else { break };
        after = Some(next);
        // At the newest moment of all, and at that of the first pages.
        let come = [minute(2), minute(9)];
        let come = come.map(|moment| Happened::new("eve", "Came", "count-2").moment(moment));
        let receipt = place.append(come).await;
        running.wait_for(receipt.last_position, SOON).await.unwrap();
    }
    let old: Vec<_> = read.iter().filter(|e| e.actor.as_deref() == Some("ada")).cloned().collect();
    assert_eq!(positions(&old), positions(&before));
    // What came at a moment that was being read stands before what had been read of it.
    assert_eq!(old.len(), read.len());
    running.stop().await;
}

async fn cursors_are_checked_and_limits_are_kept(place: Place) {
    let (feed, running) = place.feed_of(crowd()).await;
    let ada = Filter::new().by("ada");
    let next = feed.activity(ada.clone()).limit(1).page().await.unwrap().next.unwrap();
    let other = feed.activity(Filter::new()).after(next).page().await.unwrap_err();
    assert!(matches!(other, FeedError::Cursor(InvalidCursor::OtherFilter)), "{other}");
    for too_much in [
        feed.activity(ada).limit(Activity::LIMIT_MAX + 1),
        feed.activity(Filter::new().by_any((0..1_001).map(|i| i.to_string()))),
        feed.activity(Filter::new().search("a ".repeat(17))),
        feed.activity(Filter::new().search("a".repeat(1_025))),
    ] {
        let error = too_much.page().await.unwrap_err();
        assert!(matches!(error, FeedError::TooMuch { .. }), "{error}");
    }
    assert_eq!(feed.activity(Filter::new().by_any([""; 0])).page().await.unwrap().entries, []);
    running.stop().await;
}

async fn what_a_page_refers_to_is_loaded_in_one_call(place: Place) {
    let actors = ["ada", "grace", "ada", "", "eve"];
    let happened = actors.map(|actor| Happened::new(actor, "Said", "talk-7"));
    let (feed, running) = place.feed_of(happened).await;
    let page = feed.activity(Filter::new()).page().await.unwrap();
    let calls = Shared::<Vec<Vec<String>>>::default();
    let load = async |ids: Vec<String>| {
        calls.lock().unwrap().push(ids);
        Ok::<_, Infallible>(BTreeMap::from([("ada".to_owned(), 36), ("grace".to_owned(), 85)]))
    };
    let ages = page.with(|entry| entry.actor.clone(), load).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [["ada", "eve", "grace"]]);
    let found: Vec<_> = page.entries.iter().map(|entry| ages.of(entry).copied()).collect();
    assert_eq!(found, [None, None, Some(36), Some(85), Some(36)]);
    let nobody = page.with(|_| None::<u8>, async |_| Err::<Vec<(u8, u8)>, _>("it was called"));
    assert!(nobody.await.is_ok());
    assert_eq!(page.entries[0].id_in("talk"), Some("7"));
    assert_eq!(page.entries[0].id_in("tal"), None);
    running.stop().await;
}

async fn an_entry_says_what_its_event_said(place: Place) {
    let happened = Happened::new("ada", "Said", "talk-1")
        .at("1969-07-20T20:17:40.000001Z")
        .data(json!({ "text": "\u{0} ü", "big": 9_007_199_254_740_993_i64, "f": 0.1 }))
        .context(|context| context.reason("a\0b").correlation("c").batch("import"));
    let (feed, running) = place.feed_of([happened.clone()]).await;
    let entry = feed.activity(Filter::new()).page().await.unwrap().entries.remove(0);
    assert_eq!(entry.data, happened.data);
    assert_eq!(entry.occurred_at.to_string(), "1969-07-20T20:17:40.000001Z");
    assert_eq!(entry.reason.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(entry.correlation.as_deref(), Some("c"));
    assert_eq!(entry.batch.as_ref().unwrap().description.as_deref(), Some("import"));
    assert_eq!(entry.metadata["actor"], "ada");
    assert!(entry.recorded_at > entry.occurred_at);
    let json = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    running.stop().await;
}

async fn a_feed_keeps_what_its_definition_says(place: Place) {
    let definition = FeedDefinition::new("masked")
        .category("issue".parse().unwrap())
        .types(["Opened", "Closed"].map(|t| t.parse().unwrap()))
        .map(|event, mut entry| {
            if let Some(token) = entry.data.get_mut("token") {
                *token = "***".into();
            }
            entry.actor = entry.actor.map(|actor| actor.repeat(1_000));
            entry.position = Position::END;
            (event.data.bytes.as_ref() != b"{\"hidden\":true}").then_some(entry)
        });
    let masked = place.feed(definition);
    let bare = place.feed(FeedDefinition::new("bare").without_data());
    let small = place.feed(FeedDefinition::new("small").data_bytes_max(20));
    let feeds = [&masked, &bare, &small];
    let running = feeds.map(|feed| place.app.project(feed.projector()).start());
    let secret = json!({ "token": "s3cret", "title": "login page" });
    let receipt = place
        .append([
            Happened::new("ada", "Opened", "issue-1").data(secret.clone()),
            Happened::new("ada", "Opened", "order-1"),
            Happened::new("ada", "Viewed", "issue-1"),
            Happened::new("ada", "Closed", "issue-1").data(json!({ "hidden": true })),
        ])
        .await;
    for running in &running {
        running.wait_for(receipt.last_position, SOON).await.unwrap();
    }
    let found = in_pages(&masked, &Filter::new(), 10).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].data, json!({ "token": "***", "title": "login page" }));
    assert_eq!(found[0].actor.as_ref().unwrap().len(), 512);
    assert_eq!(in_pages(&masked, &Filter::new().by("ada".repeat(1_000)), 10).await.len(), 1);
    assert_eq!(in_pages(&masked, &Filter::new().search("s3cret"), 10).await, []);
    assert_eq!(in_pages(&masked, &Filter::new().search("login"), 10).await.len(), 1);

    let found = in_pages(&bare, &Filter::new(), 10).await;
    assert_eq!(found.iter().map(|entry| &entry.data).collect::<Vec<_>>(), [&Value::Null; 4]);
    assert_eq!(in_pages(&bare, &Filter::new().search("login"), 10).await, []);
    assert_eq!(in_pages(&bare, &Filter::new().search("ada"), 10).await.len(), 4);
    let kept = in_pages(&small, &Filter::new(), 10).await;
    let kept = kept.iter().filter(|entry| !entry.data.is_null()).count();
    assert_eq!(kept, 3);
    for running in running {
        running.stop().await;
    }
}

async fn a_feed_that_never_ran_says_so(place: Place) {
    let feed = place.feed(FeedDefinition::new("unknown"));
    match feed.activity(Filter::new()).page().await {
        // In memory nothing has to be made first.
        Ok(page) => assert_eq!(page.entries, []),
        Err(error) => {
            assert_eq!(
                error.to_string(),
                "the feed unknown has no tables yet; start its projector first"
            );
        }
    }
}
