//! The hours in which an inbox makes its deliveries.

use std::fmt;

use annals_core::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

/// The hours in which an inbox makes its deliveries, by the clocks on the walls of one time zone.
///
/// Outside of them deliveries wait in the queue, and no attempt is counted for them.
///
/// ```
/// use annals::inbox::OpenHours;
///
/// let by_day = OpenHours::in_zone("Europe/Berlin")?.open("08:00", "20:00")?;
/// let at_work = OpenHours::in_zone("America/New_York")?.open("09:00", "17:30")?.on_weekdays();
/// // A night begins on one day and ends on the next.
/// let by_night = OpenHours::in_zone("UTC")?.open("22:00", "06:00")?;
/// # Ok::<(), annals::inbox::InvalidHours>(())
/// ```
///
/// When clocks are put forward or back, the hours go with them: hours that the wall clock never
/// shows do not open anything, and those that it shows twice are open twice.
#[derive(Clone, Debug)]
pub struct OpenHours {
    zone: TimeZone,
    windows: Vec<Window>,
    days: [bool; 7],
}

/// From one time of the day up to another, on the same day or on the next.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Time,
    until: Time,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are seven")]
#[expect(missing_docs, reason = "everybody knows them")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Hours that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHours {
    /// There is no such time zone.
    #[error("there is no time zone {zone:?}; name one of the IANA database, like Europe/Berlin")]
    Zone {
        /// What was given.
        zone: String,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// A text is no time of the day.
    #[error("{text:?} is no time of the day; write it like 08:30, or 24:00 for the end of the day")]
    Time {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
}

impl OpenHours {
    /// Always open, by the clocks of this zone of the IANA database.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn in_zone(zone: &str) -> Result<Self, InvalidHours> {
        let found = TimeZone::get(zone);
        let zone = found.map_err(|source| InvalidHours::Zone { zone: zone.to_owned(), source })?;
        Ok(Self { zone, windows: Vec::new(), days: [true; 7] })
    }

    /// The same, open from one time of the day up to another, which is on the next day when it is
    /// not later. Those that were said before are open as well.
    ///
    /// # Errors
    /// When one of them is no time of the day.
    pub fn open(mut self, from: &str, until: &str) -> Result<Self, InvalidHours> {
        self.windows.push(Window { from: time(from)?, until: time(until)? });
        Ok(self)
    }

    /// The same, on these days only; what begins on one of them goes on until it ends.
    #[must_use]
    pub fn on(mut self, days: &[Weekday]) -> Self {
        self.days = [false; 7];
        for day in days {
            self.days[*day as usize] = true;
        }
        self
    }

    /// The same, from Monday to Friday only.
    #[must_use]
    pub fn on_weekdays(self) -> Self {
        use Weekday::{Friday, Monday, Thursday, Tuesday, Wednesday};
        self.on(&[Monday, Tuesday, Wednesday, Thursday, Friday])
    }

    /// When it is open next: `now` itself when it is open, `None` when it never is.
    #[must_use]
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let local = self.local(now);
        if self.is_open(local.datetime()) {
            return Some(now);
        }
        self.openings(&local).filter(|at| *at > now).filter(|at| self.is_open_at(*at)).min()
    }

    fn is_open_at(&self, moment: Timestamp) -> bool {
        self.is_open(self.local(moment).datetime())
    }

    fn local(&self, moment: Timestamp) -> Zoned {
        jiff::Timestamp::from_microsecond(moment.as_micros())
            .expect("a Timestamp lies between bounds that jiff can hold")
            .to_zoned(self.zone.clone())
    }

    /// Whether it is open when a clock on a wall shows this.
    fn is_open(&self, local: DateTime) -> bool {
        let today = self.is_day(local);
        if self.windows.is_empty() {
            return today;
        }
        let yesterday = local.checked_sub(1.day()).is_ok_and(|day| self.is_day(day));
        let time = local.time();
        self.windows.iter().any(|Window { from, until }| {
            if from < until {
                today && *from <= time && time < *until
            } else {
                (today && *from <= time) || (yesterday && time < *until)
            }
        })
    }

    fn is_day(&self, local: DateTime) -> bool {
        let day = usize::try_from(local.date().weekday().to_monday_zero_offset());
        day.is_ok_and(|day| self.days[day])
    }

    /// The moments of the next days at which it may open: when a window or a day begins, and
    /// when clocks are put forward or back.
    fn openings(&self, local: &Zoned) -> impl Iterator<Item = Timestamp> {
        const DAYS: i64 = 9;
        let begins = self.windows.iter().map(|window| window.from).chain([Time::midnight()]);
        let begins: Vec<_> = begins.collect();
        let today = local.date();
        let dates = (0..DAYS).filter_map(move |day| today.checked_add(day.days()).ok());
        let zone = self.zone.clone();
        let begun = dates.flat_map(move |date| {
            let zone = zone.clone();
            begins.clone().into_iter().flat_map(move |time| {
                let shown = zone.to_ambiguous_zoned(date.to_datetime(time));
                [shown.clone().earlier().ok(), shown.later().ok()].into_iter().flatten()
            })
        });
        let last =
            local.checked_add(DAYS.days()).map_or(local.timestamp(), |last| last.timestamp());
        let put = self.zone.following(local.timestamp()).map(|put| put.timestamp());
        let put: Vec<_> = put.take_while(|put| *put <= last).collect();
        begun
            .map(|begun| begun.timestamp())
            .chain(put)
            .map(|at| Timestamp::from_micros(at.as_microsecond()))
    }
}

fn time(text: &str) -> Result<Time, InvalidHours> {
    if text == "24:00" {
        return Ok(Time::midnight());
    }
    text.parse().map_err(|source| InvalidHours::Time { text: text.to_owned(), source })
}

impl fmt::Display for OpenHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Window { from, until } in &self.windows {
            write!(f, "{}–{} ", from.strftime("%H:%M"), until.strftime("%H:%M"))?;
        }
        f.write_str(self.zone.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(hours: &OpenHours, now: &str) -> String {
        hours.next_open(at(now)).map_or("never".into(), |open| open.to_string())
    }

    fn berlin() -> OpenHours {
        OpenHours::in_zone("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_day_opens_by_the_local_clock_in_winter_and_in_summer() {
        let hours = berlin().open("08:00", "20:00").unwrap();
        assert_eq!(next(&hours, "2026-01-10T06:59:59Z"), "2026-01-10T07:00:00Z");
        assert_eq!(next(&hours, "2026-01-10T07:30:00Z"), "2026-01-10T07:30:00Z");
        assert_eq!(next(&hours, "2026-01-10T19:00:00Z"), "2026-01-11T07:00:00Z");
        // On 29 March clocks are put forward: eight o'clock comes an hour earlier.
        assert_eq!(next(&hours, "2026-03-28T19:00:00Z"), "2026-03-29T06:00:00Z");
        // On 25 October they are put back.
        assert_eq!(next(&hours, "2026-10-24T18:00:00Z"), "2026-10-25T07:00:00Z");
    }

    #[test]
    fn hours_that_are_left_out_or_come_twice_are_as_the_wall_clock_shows_them() {
        let hours = berlin().open("02:30", "03:30").unwrap();
        // 02:30 never comes on 29 March; at 01:00 UTC the clock jumps to 03:00.
        assert_eq!(next(&hours, "2026-03-29T00:45:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next(&hours, "2026-03-29T01:30:00Z"), "2026-03-30T00:30:00Z");
        let hidden = berlin().open("02:00", "03:00").unwrap();
        assert_eq!(next(&hidden, "2026-03-29T00:30:00Z"), "2026-03-30T00:00:00Z");
        // On 25 October 02:30 comes twice, and between the two the clock goes back to 02:00.
        assert_eq!(next(&hours, "2026-10-25T00:45:00Z"), "2026-10-25T00:45:00Z");
        assert_eq!(next(&hours, "2026-10-25T01:10:00Z"), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn a_night_that_begins_on_an_open_day_goes_on_until_it_ends() {
        let nights = berlin().open("22:00", "06:00").unwrap().on_weekdays();
        // Friday night, into Saturday.
        assert_eq!(next(&nights, "2026-01-09T22:00:00Z"), "2026-01-09T22:00:00Z");
        assert_eq!(next(&nights, "2026-01-10T04:30:00Z"), "2026-01-10T04:30:00Z");
        // Saturday evening is closed, and so is the night into Monday.
        assert_eq!(next(&nights, "2026-01-10T21:30:00Z"), "2026-01-12T21:00:00Z");
    }

    #[test]
    fn days_without_hours_are_open_from_midnight_to_midnight() {
        let sundays = berlin().on(&[Weekday::Sunday]);
        assert_eq!(next(&sundays, "2026-01-10T12:00:00Z"), "2026-01-10T23:00:00Z");
        assert_eq!(next(&sundays, "2026-01-11T23:00:00Z"), "2026-01-17T23:00:00Z");
        assert_eq!(next(&berlin().on(&[]), "2026-01-11T23:00:00Z"), "never");
        let whole = berlin().open("00:00", "24:00").unwrap();
        assert_eq!(next(&whole, "2026-01-11T23:00:00Z"), "2026-01-11T23:00:00Z");
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let error = OpenHours::in_zone("Europe/Atlantis").unwrap_err();
        assert!(error.to_string().contains("Europe/Berlin"), "{error}");
        let error = berlin().open("8 o'clock", "20:00").unwrap_err();
        assert!(error.to_string().contains("08:30"), "{error}");
    }
}
