//! What can be counted in entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::error::within;
use crate::grouping::in_zone;
use crate::store::QUARTER_MICROS;
use crate::{Count, CountBy, Entry, EntryStore, FeedError, Filter, Order, Quarter, Slice};

/// What can be counted in the entries that a filter finds: begun by
/// [`Feed::statistics`](crate::Feed::statistics).
///
/// The database counts; here is only what is counted. Days and hours are those of a time zone, and
/// are made of quarters of an hour, since every offset in use since 1972 is a whole number of them:
/// a day has 23 or 25 hours when the clocks change, and an hour that comes twice counts twice.
#[derive(Clone, Debug)]
pub struct Statistics {
    entries: Arc<dyn EntryStore>,
    filter: Filter,
}

/// How many entries a day has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a day and its count")]
pub struct DayCount {
    /// The day.
    pub date: Date,
    /// How many.
    pub count: u64,
}

/// How many entries an hour has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "an hour and its count")]
pub struct HourCount {
    /// When it begins; of an hour that comes twice a day each has its own.
    pub begins: Timestamp,
    /// On which day.
    pub date: Date,
    /// Which hour of the day, 0 to 23.
    pub hour: i8,
    /// How many.
    pub count: u64,
}

impl Statistics {
    /// The most keys of a count.
    pub const COUNTS_MAX: usize = 1_000;
    /// The most hours of [`per_hour`](Self::per_hour): more than a year's.
    pub const HOURS_MAX: usize = 10_000;
    /// So many quarters are asked for at once: more than a hundred days.
    const QUARTERS: i64 = 10_000;

    pub(crate) fn new(entries: Arc<dyn EntryStore>, filter: Filter) -> Self {
        Self { entries, filter }
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// When the filter is beyond its limits, or the feed cannot be read.
    pub async fn total(&self) -> Result<u64, FeedError> {
        let mut total = 0;
        self.each_quarter(|quarter| {
            total += quarter.count;
            Ok(())
        })
        .await?;
        Ok(total)
    }

    /// How many entries there are of each type, actor, stream or category, most first; at most so
    /// many of these.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`], or when the feed cannot be read.
    pub async fn counts(&self, by: CountBy, limit: usize) -> Result<Vec<Count>, FeedError> {
        within("counts_max", Self::COUNTS_MAX, limit)?;
        self.filter.check()?;
        if self.filter.is_vain() {
            return Ok(Vec::new());
        }
        self.entries.count(&self.filter, by, limit).await
    }

    /// How many entries there are on each day that has any, the first ones first.
    ///
    /// # Errors
    /// When the filter is beyond its limits, or the feed cannot be read.
    pub async fn per_day(&self, zone: &TimeZone) -> Result<Vec<DayCount>, FeedError> {
        let mut days = BTreeMap::new();
        self.each_quarter(|quarter| {
            *days.entry(in_zone(quarter.begins, zone).date()).or_default() += quarter.count;
            Ok(())
        })
        .await?;
        Ok(days.into_iter().map(|(date, count)| DayCount { date, count }).collect())
    }

    /// How many entries there are in each hour that has any, the first ones first.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`] when there are more than [`HOURS_MAX`](Self::HOURS_MAX), or when the
    /// feed cannot be read.
    pub async fn per_hour(&self, zone: &TimeZone) -> Result<Vec<HourCount>, FeedError> {
        let mut hours = BTreeMap::<Timestamp, HourCount>::new();
        self.each_quarter(|quarter| {
            let local = in_zone(quarter.begins, zone);
            let into_hour = i64::from(local.minute()) * 60_000_000;
            let begins = Timestamp::from_micros(quarter.begins.as_micros() - into_hour);
            let (date, hour) = (local.date(), local.hour());
            let new = HourCount { begins, date, hour, count: 0 };
            hours.entry(begins).or_insert(new).count += quarter.count;
            within("hours_max", Self::HOURS_MAX, hours.len())
        })
        .await?;
        Ok(hours.into_values().collect())
    }

    /// How many entries there are in each hour of the day, 0 to 23, all days taken together.
    ///
    /// # Errors
    /// When the filter is beyond its limits, or the feed cannot be read.
    pub async fn hours_of_day(&self, zone: &TimeZone) -> Result<[u64; 24], FeedError> {
        let mut hours = [0; 24];
        self.each_quarter(|quarter| {
            let hour = in_zone(quarter.begins, zone).hour();
            hours[usize::from(hour.unsigned_abs())] += quarter.count;
            Ok(())
        })
        .await?;
        Ok(hours)
    }

    /// The hours of the day with their counts, busiest first; those without entries are left out.
    ///
    /// # Errors
    /// As [`hours_of_day`](Self::hours_of_day).
    pub async fn busiest_hours(&self, zone: &TimeZone) -> Result<Vec<(u8, u64)>, FeedError> {
        let mut hours: Vec<_> = (0..).zip(self.hours_of_day(zone).await?).collect();
        hours.retain(|(_, count)| *count > 0);
        hours.sort_by_key(|(hour, count)| (std::cmp::Reverse(*count), *hour));
        Ok(hours)
    }

    /// The first entry of each type, in their order; at most so many.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`], or when the feed cannot be read.
    pub async fn first_of_each_type(&self, limit: usize) -> Result<Vec<Entry>, FeedError> {
        within("page_limit_max", crate::Activity::LIMIT_MAX, limit)?;
        self.filter.check()?;
        if self.filter.is_vain() {
            return Ok(Vec::new());
        }
        self.entries.firsts(&self.filter, limit).await
    }

    /// Goes through the quarters that have entries, so many at a time, and leaps where nothing is.
    async fn each_quarter(
        &self,
        mut take: impl FnMut(Quarter) -> Result<(), FeedError>,
    ) -> Result<(), FeedError> {
        self.filter.check()?;
        if self.filter.is_vain() {
            return Ok(());
        }
        let mut rest = self.filter.clone();
        let first = Slice { order: Order::OldestFirst, after: None, limit: 1 };
        while let Some(entry) = self.entries.slice(&rest, first).await?.pop() {
            let micros = entry.occurred_at.as_micros();
            let begins = micros - micros.rem_euclid(QUARTER_MICROS);
            let end = Timestamp::from_micros(begins + Self::QUARTERS * QUARTER_MICROS);
            let is_last = end == Timestamp::MAX || rest.before.is_some_and(|before| before <= end);
            let window = if is_last { rest.clone() } else { rest.clone().before(end) };
            self.entries.quarters(&window).await?.into_iter().try_for_each(&mut take)?;
            if is_last {
                break;
            }
            rest = rest.since(end);
        }
        Ok(())
    }
}
