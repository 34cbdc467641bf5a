//! Groups and days are the same wherever pages end.

use std::time::Duration;

use annals_feed::{Activity, Filter, Grouping, by_day, join_days};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::places::{Happened, Place, in_each_place, in_pages, minute};

in_each_place![
    groups_are_the_same_wherever_pages_end,
    a_group_longer_than_what_is_read_is_cut_and_joined,
    days_are_joined_over_borders,
];

const HOUR: Duration = Duration::from_secs(3_600);

async fn groups_are_the_same_wherever_pages_end(place: Place) {
    let mut runner = TestRunner::deterministic();
    let mut now = 0;
    let mut happened = || {
        let (gap, actor, stream) =
            (0..90_i64, 0..10_u8, 0..4_u8).new_tree(&mut runner).unwrap().current();
        now += gap;
        let actor = if actor == 0 { "grace" } else { "ada" };
        let stream = if stream == 0 { "issue-2" } else { "issue-1" };
        Happened::new(actor, "Commented", stream).moment(minute(now))
    };
    let (feed, running) = place.feed_of((0..120).map(|_| happened())).await;
    let all = in_pages(&feed, &Filter::new(), 200).await;
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    for grouping in [
        Grouping::within(HOUR),
        Grouping::within(HOUR).by_stream(),
        Grouping::within(HOUR).by_day(berlin),
        Grouping::within(Duration::ZERO),
    ] {
        // Plainly: a border between neighbours that do not belong together.
        let borders = all.windows(2).filter(|pair| !grouping.joins(&pair[0], &pair[1])).count();
        let whole = grouping.groups(all.clone());
        assert_eq!(whole.len(), borders + 1);
        assert_eq!(whole.iter().map(|group| group.count).sum::<u64>(), 120);
        for size in [1, 7, 50] {
            // Groups of plain pages, joined:
            let mut joined = Vec::new();
            for page in all.chunks(size) {
                grouping.join(&mut joined, grouping.groups(page.to_vec()));
            }
            assert_eq!(joined, whole);
            // Pages of groups:
            let (mut read, mut after) = (Vec::new(), None);
            loop {
                let mut activity = feed.activity(Filter::new()).limit(size);
                if let Some(cursor) = after {
                    activity = activity.after(cursor);
                }
                let page = activity.groups(&grouping).await.unwrap();
                assert!(page.groups.len() <= size);
                read.extend(page.groups);
                let Some(next) = page.next else { break };
                after = Some(next);
            }
            assert_eq!(read, whole);
        }
    }
    running.stop().await;
}

async fn a_group_longer_than_what_is_read_is_cut_and_joined(place: Place) {
    let count = Activity::GROUPED_MAX + 5;
    let same = (0..count).map(|_| Happened::new("ada", "Viewed", "issue-1").moment(minute(0)));
    let (feed, running) = place.feed_of(same).await;
    let grouping = Grouping::within(HOUR);
    let first = feed.activity(Filter::new()).groups(&grouping).await.unwrap();
    assert_eq!(first.groups[0].count, Activity::GROUPED_MAX as u64);
    assert!(first.groups[0].continues);
    let rest = feed.activity(Filter::new()).after(first.next.unwrap());
    let rest = rest.groups(&grouping).await.unwrap();
    let mut groups = first.groups;
    grouping.join(&mut groups, rest.groups);
    assert_eq!((groups.len(), groups[0].count), (1, count as u64));
    assert!(!groups[0].continues);
    running.stop().await;
}

async fn days_are_joined_over_borders(place: Place) {
    // Midnight in Berlin is 22:00 UTC in summer.
    let happened = ["2025-07-01T21:59:59Z", "2025-07-01T22:00:00Z", "2025-07-02T21:00:00Z"];
    let happened = happened.map(|at| Happened::new("ada", "Viewed", "issue-1").at(at));
    let (feed, running) = place.feed_of(happened).await;
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let entries = in_pages(&feed, &Filter::new(), 10).await;
    for size in [1, 2, 3] {
        let mut days = Vec::new();
        for page in entries.chunks(size) {
            join_days(&mut days, by_day(page.to_vec(), &berlin, |entry| entry.occurred_at));
        }
        let counts: Vec<_> =
            days.iter().map(|day| (day.date.to_string(), day.items.len())).collect();
        assert_eq!(counts, [("2025-07-02".to_owned(), 2), ("2025-07-01".to_owned(), 1)]);
    }
    running.stop().await;
}
