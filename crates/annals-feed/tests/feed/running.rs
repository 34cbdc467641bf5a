//! Feeds under way: each event once, whatever dies, and rebuilt beside what is read.

use std::collections::BTreeSet;
use std::time::Duration;

use annals::Rebuild;
use annals_feed::{FeedDefinition, Filter};
use serde_json::json;

use crate::places::{Happened, Place, SOON, in_each_place, in_pages, minute, positions};

in_each_place![
    a_runner_that_is_killed_anywhere_neither_skips_nor_repeats_an_entry,
    a_rebuild_makes_the_same_entries_beside_those_that_are_read,
    a_new_version_takes_the_place_of_the_old_one,
    several_parts_make_one_feed,
];

fn many(count: i64) -> impl Iterator<Item = Happened> {
    (0..count).map(|i| {
        let stream = format!("issue-{}", i % 13);
        Happened::new("ada", "Said", &stream).moment(minute(i % 50)).data(json!({ "n": i }))
    })
}

async fn a_runner_that_is_killed_anywhere_neither_skips_nor_repeats_an_entry(place: Place) {
    let feed = place.feed(FeedDefinition::new("activity"));
    let last = place.append(many(600)).await.last_position;
    let mut deaths: u64 = 0;
    loop {
        // A runtime that is shut down drops its tasks wherever they wait.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (app, again) = (place.app.clone(), place.again(&feed));
        let handle = runtime.spawn(async move {
            let projecting = app.project(again.open().await.projector()).events_max(7);
            let running = projecting.lease(Duration::from_millis(100)).start();
            running.wait_for(last, SOON).await
        });
        // Memory is done at once, and may not even die.
        let patience = Duration::from_millis(105 + deaths * 15);
        let done = tokio::time::timeout(patience, handle).await;
        runtime.shutdown_background();
        match done {
            Ok(done) => {
                done.unwrap().unwrap();
                break;
            }
            Err(_) => deaths += 1,
        }
        assert!(deaths < 300, "it gets nowhere");
    }
    let entries = in_pages(&feed, &Filter::new(), 200).await;
    let numbers: BTreeSet<_> = entries.iter().map(|e| e.data["n"].as_i64().unwrap()).collect();
    assert_eq!((entries.len(), numbers.len()), (600, 600), "after {deaths} deaths");
    assert!(entries.iter().all(|entry| entry.part == 0));
    // The words came along.
    for n in [0, 299, 599] {
        let found = feed.activity(Filter::new().search(n.to_string())).page().await.unwrap();
        assert_eq!(found.entries.len(), 1, "{n}");
    }
}

async fn a_rebuild_makes_the_same_entries_beside_those_that_are_read(place: Place) {
    let (feed, running) = place.feed_of(many(200)).await;
    let before = in_pages(&feed, &Filter::new(), 200).await;
    for _ in 0..2 {
        running.rebuild(Rebuild::new()).await.unwrap();
        // It can be read all the time.
        while let Err(annals::WaitError::TimedOut { .. }) =
            running.wait_for_rebuild(Duration::ZERO).await
        {
            let read = in_pages(&feed, &Filter::new(), 200).await;
            assert_eq!(positions(&read), positions(&before));
        }
        assert_eq!(in_pages(&feed, &Filter::new(), 200).await, before);
        let found = feed.activity(Filter::new().search("199")).page().await.unwrap();
        assert_eq!(found.entries.len(), 1);
    }
    let receipt = place.append(many(1)).await;
    running.wait_for(receipt.last_position, SOON).await.unwrap();
    assert_eq!(in_pages(&feed, &Filter::new(), 200).await.len(), 201);
    running.stop().await;
}

async fn a_new_version_takes_the_place_of_the_old_one(place: Place) {
    let (_, running) = place.feed_of(many(50)).await;
    running.stop().await;
    let bare = place.feed(FeedDefinition::new("activity").version(2).without_data());
    let running = place.app.project(bare.projector()).rebuilding_new_versions().start();
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        // Nothing is known of it until it has enrolled.
        let status = running.status().await;
        if status.is_ok_and(|s| s.info.active().is_some_and(|active| active.version == 2)) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let receipt = place.append(many(1)).await;
    running.wait_for(receipt.last_position, SOON).await.unwrap();
    let entries = in_pages(&bare, &Filter::new(), 200).await;
    assert_eq!(entries.len(), 51);
    assert!(entries.iter().all(|entry| entry.data.is_null()));
    running.stop().await;
}

async fn several_parts_make_one_feed(place: Place) {
    let feed = place.feed(FeedDefinition::new("activity"));
    let running = place.app.project(feed.projector()).partitions(3).start();
    let receipt = place.append(many(100)).await;
    running.wait_for(receipt.last_position, SOON).await.unwrap();
    assert_eq!(in_pages(&feed, &Filter::new(), 33).await.len(), 100);
    running.stop().await;
}
