//! Whether the versions of every stream are dense (S3), as far as the read goes back.

use std::collections::HashMap;

use annals_core::{StreamId, Version};

use super::comparison::Count;

#[derive(Debug)]
pub(super) struct Versions {
    last: HashMap<StreamId, Version>,
    /// Whether the read began at the log's first event, and so every stream at its first.
    from_start: bool,
    gaps: Count,
}

impl Versions {
    pub(super) fn new(from_start: bool) -> Self {
        Self { last: HashMap::new(), from_start, gaps: Count::default() }
    }

    pub(super) fn event(&mut self, position: u64, stream: &StreamId, version: Version) {
        let expected = match self.last.get(stream) {
            Some(last) => last.next(),
            None if self.from_start => Version::FIRST,
            None => version,
        };
        if version != expected || version == Version::EMPTY {
            self.gaps.add(position);
        }
        match self.last.get_mut(stream) {
            Some(last) => *last = version,
            None => {
                self.last.insert(stream.clone(), version);
            }
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.last.len()
    }

    pub(super) fn gaps(&self) -> Count {
        self.gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(from_start: bool, log: &[(&'static str, u64)]) -> (u64, Option<u64>) {
        let mut versions = Versions::new(from_start);
        for (position, (stream, version)) in (1..).zip(log) {
            versions.event(position, &StreamId::from_static(stream), Version::new(*version));
        }
        (versions.gaps().count, versions.gaps().first)
    }

    #[test]
    fn versions_that_jump_or_repeat_are_found() {
        let dense = [("a-1", 1), ("b-1", 1), ("a-1", 2), ("a-1", 3), ("b-1", 2)];
        assert_eq!(gaps(true, &dense), (0, None));
        assert_eq!(gaps(true, &[("a-1", 1), ("a-1", 3), ("a-1", 4)]), (1, Some(2)));
        assert_eq!(gaps(true, &[("a-1", 1), ("b-1", 1), ("a-1", 1)]), (1, Some(3)));
        assert_eq!(gaps(true, &[("a-1", 2)]), (1, Some(1)));
        assert_eq!(gaps(true, &[("a-1", 0)]), (1, Some(1)));
    }

    #[test]
    fn a_read_from_the_middle_takes_the_first_as_it_comes() {
        assert_eq!(gaps(false, &[("a-1", 7), ("a-1", 8), ("a-1", 10)]), (1, Some(3)));
    }
}
