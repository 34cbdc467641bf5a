//! Counts, also on days on which the clocks change.

use std::collections::{BTreeMap, BTreeSet};

use annals::Timestamp;
use annals_feed::{Count, CountBy, Feed, FeedDefinition, Filter};
use jiff::tz::TimeZone;

use crate::counting::Counting;
use crate::places::{Happened, Place, SOON, in_each_place, in_pages, minute};

in_each_place![
    days_have_the_hours_that_the_clocks_give_them,
    quarters_agree_with_the_zones_of_all_entries,
    counts_are_sorted_and_bounded,
];

const HOUR: i64 = 3_600_000_000;

/// An entry every hour of so many, from a moment on.
fn hourly(from: &str, hours: i64) -> impl Iterator<Item = Happened> {
    let from: Timestamp = from.parse().unwrap();
    (0..hours).map(move |hour| {
        let at = Timestamp::from_micros(from.as_micros() + hour * HOUR + 59 * 60_000_000);
        Happened::new("ada", "Counted", "count-1").moment(at)
    })
}

async fn days_have_the_hours_that_the_clocks_give_them(place: Place) {
    let spring = hourly("2025-03-28T23:00:00Z", 24 + 23 + 24);
    let autumn = hourly("2025-10-24T22:00:00Z", 24 + 25 + 24);
    let (feed, running) = place.feed_of(spring.chain(autumn)).await;
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let statistics = feed.statistics(Filter::new());
    let days: Vec<_> = statistics.per_day(&berlin).await.unwrap();
    let days: Vec<_> = days.iter().map(|day| (day.date.to_string(), day.count)).collect();
    let expected = [
        ("2025-03-29", 24),
        ("2025-03-30", 23),
        ("2025-03-31", 24),
        ("2025-10-25", 24),
        ("2025-10-26", 25),
        ("2025-10-27", 24),
    ];
    assert_eq!(days, expected.map(|(date, count)| (date.to_owned(), count)));

    let hours = statistics.per_hour(&berlin).await.unwrap();
    let on = |date: &str| {
        let hours = hours.iter().filter(|hour| hour.date.to_string() == date);
        hours.map(|hour| hour.hour).collect::<Vec<_>>()
    };
    let spring: Vec<i8> = (0..24).filter(|&hour| hour != 2).collect();
    assert_eq!(on("2025-03-30"), spring);
    let mut autumn: Vec<i8> = (0..24).collect();
    autumn.insert(2, 2);
    assert_eq!(on("2025-10-26"), autumn);
    assert!(hours.iter().all(|hour| hour.count == 1));
    assert!(hours.is_sorted_by(|one, next| one.begins < next.begins));

    let of_day = statistics.hours_of_day(&berlin).await.unwrap();
    assert_eq!((of_day[1], of_day[2], of_day[3]), (6, 6, 6));
    assert_eq!(of_day.iter().sum::<u64>(), statistics.total().await.unwrap());
    running.stop().await;
}

async fn quarters_agree_with_the_zones_of_all_entries(place: Place) {
    // Around day borders of zones with odd offsets, years apart, and before 1970.
    let moments = [
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "1985-12-31T18:29:59.999999Z",
        "1985-12-31T18:30:00Z",
        "2024-02-29T18:14:59.999999Z",
        "2024-02-29T18:15:00Z",
        "2024-02-29T18:59:00Z",
        "2024-04-06T14:59:59Z",
        "2024-04-06T15:00:00Z",
        "2024-04-06T15:30:00Z",
        "9999-01-01T00:00:00Z",
    ];
    let happened = moments.map(|at| Happened::new("ada", "Counted", "count-1").at(at));
    let (feed, running) = place.feed_of(happened).await;
    let counting = Counting::new(feed.entries());
    let counted = Feed::of(FeedDefinition::new("activity"), counting.clone(), feed.projector());
    let entries = in_pages(&feed, &Filter::new(), 50).await;
    for zone in ["UTC", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"]
    {
        let zone = TimeZone::get(zone).unwrap();
        let mut plainly = BTreeMap::<_, u64>::new();
        let mut hours = BTreeSet::new();
        for entry in &entries {
            let moment = jiff::Timestamp::from_microsecond(entry.occurred_at.as_micros()).unwrap();
            let local = moment.to_zoned(zone.clone());
            *plainly.entry(local.date()).or_default() += 1;
            hours.insert((local.date(), local.hour(), local.offset()));
        }
        let days = counted.statistics(Filter::new()).per_day(&zone).await.unwrap();
        let days: BTreeMap<_, _> = days.into_iter().map(|day| (day.date, day.count)).collect();
        assert_eq!(days, plainly, "{zone:?}");
        let per_hour = counted.statistics(Filter::new()).per_hour(&zone).await.unwrap();
        assert_eq!(per_hour.len(), hours.len(), "{zone:?}");
    }
    // Centuries without entries are leapt over.
    assert!(counting.rows.lock().unwrap().len() < 100);
    let some = Filter::new().since(entries[7].occurred_at).before(entries[1].occurred_at);
    assert_eq!(feed.statistics(some).total().await.unwrap(), 6);
    running.stop().await;
}

async fn counts_are_sorted_and_bounded(place: Place) {
    let said = |actor: &str, event_type, stream: &str, at| {
        Happened::new(actor, event_type, stream).moment(minute(at))
    };
    let (feed, running) = place
        .feed_of([
            said("ada", "Opened", "issue-1", 5),
            said("Zoe", "Closed", "issue-1", 1),
            said("ada", "Closed", "issue-2", 1),
            said("", "Viewed", "order-2", 3),
            said("", "Viewed", "issue-2", 3),
            said("grace", "Opened", "issue-2", 2),
        ])
        .await;
    let all = feed.statistics(Filter::new());
    let counts = |counts: Vec<Count>| {
        let counts = counts.into_iter();
        counts.map(|count| (count.key.unwrap_or_default(), count.count)).collect::<Vec<_>>()
    };
    let expected = |counts: &[(&str, u64)]| {
        counts.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect::<Vec<_>>()
    };
    let actors = counts(all.counts(CountBy::Actor, 10).await.unwrap());
    assert_eq!(actors, expected(&[("", 2), ("ada", 2), ("Zoe", 1), ("grace", 1)]));
    let types = counts(all.counts(CountBy::Type, 2).await.unwrap());
    assert_eq!(types, expected(&[("Closed", 2), ("Opened", 2)]));
    let issues = feed.statistics(Filter::new().in_category("issue".parse().unwrap()));
    let streams = counts(issues.counts(CountBy::Stream, 10).await.unwrap());
    assert_eq!(streams, expected(&[("issue-2", 3), ("issue-1", 2)]));
    let categories = counts(all.counts(CountBy::Category, 10).await.unwrap());
    assert_eq!(categories, expected(&[("issue", 5), ("order", 1)]));
    let of_both = feed.statistics(Filter::new().by_any(["ada", "grace"]));
    assert_eq!(of_both.total().await.unwrap(), 3);
    assert_eq!(counts(of_both.counts(CountBy::Type, 1).await.unwrap()), expected(&[("Opened", 2)]));

    let firsts = all.first_of_each_type(10).await.unwrap();
    let firsts: Vec<_> =
        firsts.iter().map(|e| (e.event_type.to_string(), e.stream.to_string())).collect();
    let expected = [("Closed", "issue-1"), ("Opened", "issue-2"), ("Viewed", "order-2")];
    assert_eq!(firsts, expected.map(|(t, s)| (t.to_owned(), s.to_owned())));
    assert_eq!(all.first_of_each_type(1).await.unwrap().len(), 1);
    let utc = TimeZone::UTC;
    assert_eq!(all.busiest_hours(&utc).await.unwrap(), [(12, 6)]);
    let receipt = place
        .append([said("ada", "Opened", "issue-1", 60), said("ada", "Opened", "issue-1", -1)])
        .await;
    running.wait_for(receipt.last_position, SOON).await.unwrap();
    assert_eq!(all.busiest_hours(&utc).await.unwrap(), [(12, 6), (11, 1), (13, 1)]);
    running.stop().await;
}
