//! What a subscription has delivered, in a byte or two for each event.

/// The positions that a subscriber saw, in the order it saw them in.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The positions that rose, each as its distance from the one before: seven bits a byte, the
    /// lowest first, with the eighth set where more follow.
    rising: Vec<u8>,
    last: u64,
    /// Everything up to here is delivered: so the subscription said.
    caught_up: u64,
    /// Those that came behind a later one, or behind a notice that they had all come.
    stragglers: Vec<u64>,
}

impl Seen {
    pub(super) fn event(&mut self, position: u64) {
        if position <= self.at() {
            self.stragglers.push(position);
            return;
        }
        let mut distance = position - self.last;
        self.last = position;
        while distance > 0x7f {
            self.rising.push(low_bits(distance) | 0x80);
            distance >>= 7;
        }
        self.rising.push(low_bits(distance));
    }

    pub(super) fn caught_up(&mut self, position: u64) {
        self.caught_up = self.caught_up.max(position);
    }

    /// How far the subscriber has come.
    pub(super) fn at(&self) -> u64 {
        self.last.max(self.caught_up)
    }

    /// The last event that was seen.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The positions that rose, and the others, sorted.
    pub(super) fn into_parts(mut self) -> (Rising, Vec<u64>) {
        self.stragglers.sort_unstable();
        (Rising { bytes: self.rising.into_iter(), position: 0 }, self.stragglers)
    }
}

fn low_bits(distance: u64) -> u8 {
    u8::try_from(distance & 0x7f).expect("seven bits fit")
}

/// Goes through positions that rise.
#[derive(Debug)]
pub(super) struct Rising {
    bytes: std::vec::IntoIter<u8>,
    position: u64,
}

impl Iterator for Rising {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (mut distance, mut shift) = (0, 0);
        loop {
            let byte = self.bytes.next()?;
            distance |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                self.position += distance;
                return Some(self.position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_as_they_were() {
        let positions = [1, 2, 129, 257, 16_641, 1 << 20, (1 << 53) - 1, i64::MAX.unsigned_abs()];
        let mut seen = Seen::default();
        positions.iter().for_each(|position| seen.event(*position));
        assert_eq!(seen.at(), i64::MAX.unsigned_abs());
        let (rising, stragglers) = seen.into_parts();
        assert_eq!(rising.collect::<Vec<_>>(), positions);
        assert!(stragglers.is_empty());
    }

    #[test]
    fn what_comes_late_is_set_aside() {
        let mut seen = Seen::default();
        [5, 9, 7, 9].into_iter().for_each(|position| seen.event(position));
        seen.caught_up(20);
        [15, 21].into_iter().for_each(|position| seen.event(position));
        let (rising, stragglers) = seen.into_parts();
        assert_eq!(rising.collect::<Vec<_>>(), [5, 9, 21]);
        assert_eq!(stragglers, [7, 9, 15]);
    }
}
