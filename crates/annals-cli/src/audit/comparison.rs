//! What a subscription delivered, beside what the log has: merged, so that neither is held.

use std::iter::Peekable;
use std::vec;

use serde::Serialize;

use super::seen::{Rising, Seen};

/// How many events, and the position of the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    pub(super) count: u64,
    pub(super) first: Option<u64>,
}

impl Count {
    pub(super) fn add(&mut self, position: u64) {
        self.count += 1;
        self.first = self.first.or(Some(position));
    }

    pub(super) fn is_zero(&self) -> bool {
        self.count == 0
    }
}

/// What came of it, event by event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Delivered as promised: once, and in order.
    pub(super) seen: u64,
    /// In the log, and not delivered.
    pub(super) missed: Count,
    /// Delivered again.
    pub(super) twice: Count,
    /// Delivered behind a later one, or after the notice that they had all come.
    pub(super) out_of_order: Count,
    /// Delivered, but not in the log where it should be.
    pub(super) not_in_log: Count,
}

impl Verdict {
    pub(super) fn is_clean(&self) -> bool {
        [self.missed, self.twice, self.out_of_order, self.not_in_log].iter().all(Count::is_zero)
    }
}

/// Takes the log's events one after the other, and judges what was seen of them.
#[derive(Debug)]
pub(super) struct Comparison {
    rising: Peekable<Rising>,
    stragglers: Peekable<vec::IntoIter<u64>>,
    end: u64,
    verdict: Verdict,
}

impl Comparison {
    /// Judges what was seen up to `end`.
    pub(super) fn new(seen: Seen, end: u64) -> Self {
        let (rising, stragglers) = seen.into_parts();
        let (rising, stragglers) = (rising.peekable(), stragglers.into_iter().peekable());
        Self { rising, stragglers, end, verdict: Verdict::default() }
    }

    /// The next event of the log, which must rise.
    pub(super) fn expect(&mut self, position: u64) {
        if position > self.end {
            return;
        }
        self.skip_to(position);
        let came_in_order = self.rising.next_if_eq(&position).is_some();
        let mut came_late = 0;
        while self.stragglers.next_if_eq(&position).is_some() {
            came_late += 1;
        }
        let verdict = &mut self.verdict;
        let repeats = match (came_in_order, came_late) {
            (true, late) => {
                verdict.seen += 1;
                late
            }
            (false, 0) => {
                verdict.missed.add(position);
                0
            }
            (false, late) => {
                verdict.out_of_order.add(position);
                late - 1
            }
        };
        (0..repeats).for_each(|_| verdict.twice.add(position));
    }

    pub(super) fn finish(mut self) -> Verdict {
        self.skip_to(self.end.saturating_add(1));
        self.verdict
    }

    /// What was seen before this position and is not in the log.
    fn skip_to(&mut self, position: u64) {
        while let Some(seen) = self.rising.next_if(|seen| *seen < position) {
            self.verdict.not_in_log.add(seen);
        }
        while let Some(seen) = self.stragglers.next_if(|seen| *seen < position) {
            self.verdict.not_in_log.add(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [u64; 5] = [10, 20, 30, 40, 50];

    fn verdict(seen: &[u64]) -> Verdict {
        let mut all = Seen::default();
        seen.iter().for_each(|position| all.event(*position));
        judged(all, 50)
    }

    fn judged(seen: Seen, end: u64) -> Verdict {
        let mut comparison = Comparison::new(seen, end);
        LOG.iter().for_each(|position| comparison.expect(*position));
        comparison.finish()
    }

    fn count(count: u64, first: u64) -> Count {
        Count { count, first: Some(first) }
    }

    #[test]
    fn what_is_as_promised_is_clean() {
        assert_eq!(verdict(&LOG), Verdict { seen: 5, ..Verdict::default() });
        assert!(verdict(&LOG).is_clean());
        // What lies beyond the end is another audit's.
        assert_eq!(verdict(&[10, 20, 30, 40, 50, 60, 60]), verdict(&LOG));
    }

    #[test]
    fn every_lie_is_found() {
        let (seen, none) = (|seen| Verdict { seen, ..Verdict::default() }, Verdict::default());
        for (lie, found) in [
            (&[][..], Verdict { missed: count(5, 10), ..none }),
            (&[20, 30, 40, 50], Verdict { missed: count(1, 10), ..seen(4) }),
            (&[10, 20, 40, 50], Verdict { missed: count(1, 30), ..seen(4) }),
            (&[10, 20, 30], Verdict { missed: count(2, 40), ..seen(3) }),
            (&[10, 20, 20, 30, 40, 50], Verdict { twice: count(1, 20), ..seen(5) }),
            (&[10, 20, 30, 40, 50, 10, 10], Verdict { twice: count(2, 10), ..seen(5) }),
            (&[10, 30, 20, 40, 50], Verdict { out_of_order: count(1, 20), ..seen(4) }),
            (&[20, 10, 30, 50, 40], Verdict { out_of_order: count(2, 10), ..seen(3) }),
            (
                &[10, 30, 20, 20, 40, 50],
                Verdict { out_of_order: count(1, 20), twice: count(1, 20), ..seen(4) },
            ),
            (&[10, 15, 20, 30, 40, 45, 50], Verdict { not_in_log: count(2, 15), ..seen(5) }),
            (&[10, 20, 30, 40, 50, 5], Verdict { not_in_log: count(1, 5), ..seen(5) }),
        ] {
            assert_eq!(verdict(lie), found, "{lie:?}");
            assert!(!verdict(lie).is_clean());
        }
    }

    #[test]
    fn an_event_after_the_notice_that_all_had_come_is_late() {
        let mut seen = Seen::default();
        [10, 20].into_iter().for_each(|position| seen.event(position));
        seen.caught_up(35);
        [30, 40, 50].into_iter().for_each(|position| seen.event(position));
        let late = Verdict { seen: 4, out_of_order: count(1, 30), ..Verdict::default() };
        assert_eq!(judged(seen, 50), late);
    }

    #[test]
    fn nothing_behind_the_end_is_missed() {
        let mut seen = Seen::default();
        [10, 30].into_iter().for_each(|position| seen.event(position));
        let verdict = judged(seen, 30);
        assert_eq!((verdict.seen, verdict.missed), (2, count(1, 20)));
    }
}
