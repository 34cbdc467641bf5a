//! Groups of similar entries, and days: pure functions on what was read.
//!
//! Whether two neighbours belong together depends on these two and nothing else. So groups are the
//! same wherever pages end, and what a border has parted can be joined again.

use std::time::Duration;

use annals::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::Entry;

/// Which neighbours belong together: those of the same actor and type, of which none happened
/// longer than a window after the one before.
///
/// ```
/// use std::time::Duration;
/// use annals_feed::Grouping;
/// use jiff::tz::TimeZone;
///
/// let grouping = Grouping::within(Duration::from_secs(3_600))
///     .by_stream()
///     .by_day(TimeZone::get("Europe/Berlin")?);
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grouping {
    window: Duration,
    by_stream: bool,
    by_day: Option<TimeZone>,
}

/// Similar entries that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// The newest of them.
    pub newest: Entry,
    /// The oldest of them; the same when it is one.
    pub oldest: Entry,
    /// How many they are.
    pub count: u64,
    /// Whether it goes on beyond what was read: [join](Grouping::join) it with what comes then.
    pub continues: bool,
}

impl Grouping {
    /// Entries of the same actor and type, each at most so long after the one before.
    #[must_use]
    pub fn within(window: Duration) -> Self {
        Self { window, by_stream: false, by_day: None }
    }

    /// The same, and in the same stream.
    #[must_use]
    pub fn by_stream(mut self) -> Self {
        self.by_stream = true;
        self
    }

    /// The same, and on the same day in this time zone.
    #[must_use]
    pub fn by_day(mut self, zone: TimeZone) -> Self {
        self.by_day = Some(zone);
        self
    }

    /// Whether two neighbours belong together.
    #[must_use]
    pub fn joins(&self, one: &Entry, other: &Entry) -> bool {
        let apart = one.occurred_at.as_micros().abs_diff(other.occurred_at.as_micros());
        let day = |entry: &Entry, zone: &TimeZone| date_of(entry.occurred_at, zone);
        one.actor == other.actor
            && one.event_type == other.event_type
            && (!self.by_stream || one.stream == other.stream)
            && u128::from(apart) <= self.window.as_micros()
            && self.by_day.as_ref().is_none_or(|zone| day(one, zone) == day(other, zone))
    }

    /// Groups entries, which stand in their order, newest first.
    #[must_use]
    pub fn groups(&self, entries: impl IntoIterator<Item = Entry>) -> Vec<Group> {
        let mut grouper = Grouper::new(self);
        entries.into_iter().for_each(|entry| grouper.push(entry));
        grouper.finish(false)
    }

    /// Puts the groups of the next page behind those of the pages before; the one that the border
    /// has parted is one again.
    pub fn join(&self, groups: &mut Vec<Group>, next: impl IntoIterator<Item = Group>) {
        for group in next {
            match groups.last_mut() {
                Some(last) if self.joins(&last.oldest, &group.newest) => {
                    last.count += group.count;
                    last.continues = group.continues;
                    last.oldest = group.oldest;
                }
                _ => groups.push(group),
            }
        }
    }
}

/// Makes groups of entries that come one after the other.
pub(crate) struct Grouper<'g> {
    grouping: &'g Grouping,
    /// The groups that nothing belongs to any more.
    pub(crate) closed: Vec<Group>,
    open: Option<Group>,
}

impl<'g> Grouper<'g> {
    pub(crate) fn new(grouping: &'g Grouping) -> Self {
        Self { grouping, closed: Vec::new(), open: None }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        match &mut self.open {
            Some(group) if self.grouping.joins(&group.oldest, &entry) => {
                group.count += 1;
                group.oldest = entry;
            }
            open => {
                let oldest = entry.clone();
                let begun = Group { newest: entry, oldest, count: 1, continues: false };
                self.closed.extend(open.replace(begun));
            }
        }
    }

    pub(crate) fn finish(mut self, continues: bool) -> Vec<Group> {
        self.closed.extend(self.open.map(|group| Group { continues, ..group }));
        self.closed
    }
}

/// What happened on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a date and what is on it")]
pub struct Day<T> {
    /// The day.
    pub date: Date,
    /// What happened, in the order it came in.
    pub items: Vec<T>,
}

/// Parts what is in order of time into days of a time zone; `moment` says when something happened.
#[must_use]
pub fn by_day<T>(
    items: impl IntoIterator<Item = T>,
    zone: &TimeZone,
    moment: impl Fn(&T) -> Timestamp,
) -> Vec<Day<T>> {
    let mut days = Vec::<Day<T>>::new();
    for item in items {
        let date = date_of(moment(&item), zone);
        match days.last_mut() {
            Some(day) if day.date == date => day.items.push(item),
            _ => days.push(Day { date, items: vec![item] }),
        }
    }
    days
}

/// Puts the days of the next page behind those of the pages before; the one that the border has
/// parted is one again.
pub fn join_days<T>(days: &mut Vec<Day<T>>, next: impl IntoIterator<Item = Day<T>>) {
    for day in next {
        match days.last_mut() {
            Some(last) if last.date == day.date => last.items.extend(day.items),
            _ => days.push(day),
        }
    }
}

/// The day of a moment in a time zone.
pub(crate) fn date_of(moment: Timestamp, zone: &TimeZone) -> Date {
    in_zone(moment, zone).date()
}

pub(crate) fn in_zone(moment: Timestamp, zone: &TimeZone) -> jiff::Zoned {
    jiff::Timestamp::from_microsecond(moment.as_micros())
        .expect("a Timestamp lies between MIN and MAX, which jiff can hold")
        .to_zoned(zone.clone())
}
