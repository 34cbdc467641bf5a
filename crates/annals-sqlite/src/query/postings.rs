//! Evaluating a query by leaping over sorted lists of positions.
//!
//! Pure: where the lists come from is the caller's business. Each list is asked for its next
//! member at or beyond a position, so an intersection costs no more than its rarest list, and
//! nothing is ever scanned that an index can skip.

use annals_core::Direction;

/// Where lists of positions come from.
pub(crate) trait Source {
    /// Names a list.
    type Key;
    /// Why a list cannot be read.
    type Error;

    /// Up to `count` members of the list at or beyond `from`, in reading order.
    fn fetch(&self, key: &Self::Key, from: i64, count: usize) -> Result<Vec<i64>, Self::Error>;
}

/// An expression over lists, read in one direction. Questions must be asked in that direction.
#[derive(Debug)]
pub(crate) enum Postings<K> {
    /// Members of every part.
    All(Vec<Postings<K>>),
    /// Members of any part.
    Any(Vec<Ahead<K>>),
    /// Members of one stored list.
    List(List<K>),
}

/// A part of an `Any` with the answer it gave last, which stays true until it is passed.
#[derive(Debug)]
pub(crate) struct Ahead<K> {
    part: Postings<K>,
    answer: Answer,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Unasked,
    Known(Option<i64>),
}

/// A stored list and the part of it that was fetched last.
#[derive(Debug)]
pub(crate) struct List<K> {
    key: K,
    fetched: Vec<i64>,
    next: usize,
    count: usize,
    ended: bool,
}

/// How many members are fetched at once: few at first, for questions that need only one.
const FETCH_FIRST: usize = 1;
const FETCH_MOST: usize = 256;

impl<K> Postings<K> {
    pub(crate) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let ahead = |part| Ahead { part, answer: Answer::Unasked };
        Self::Any(parts.into_iter().map(ahead).collect())
    }

    pub(crate) fn list(key: K) -> Self {
        Self::List(List { key, fetched: Vec::new(), next: 0, count: FETCH_FIRST, ended: false })
    }

    /// The first member at or beyond `from`.
    pub(crate) fn seek<S: Source<Key = K>>(
        &mut self,
        source: &S,
        from: i64,
        direction: Direction,
    ) -> Result<Option<i64>, S::Error> {
        match self {
            Self::All(parts) => meet(parts, source, from, direction),
            Self::Any(parts) => {
                let mut nearest: Option<i64> = None;
                for part in parts {
                    let Some(found) = part.seek(source, from, direction)? else {
                        continue;
                    };
                    nearest = match nearest {
                        Some(other) if !beyond(other, found, direction) => Some(other),
                        _ => Some(found),
                    };
                }
                Ok(nearest)
            }
            Self::List(list) => list.seek(source, from, direction),
        }
    }
}

/// Leaps from part to part until all stand at the same member.
fn meet<S: Source>(
    parts: &mut [Postings<S::Key>],
    source: &S,
    from: i64,
    direction: Direction,
) -> Result<Option<i64>, S::Error> {
    let mut candidate = from;
    let mut agreeing = 0;
    for index in (0..parts.len()).cycle() {
        let Some(found) = parts[index].seek(source, candidate, direction)? else {
            return Ok(None);
        };
        agreeing = if found == candidate { agreeing + 1 } else { 1 };
        candidate = found;
        if agreeing == parts.len() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

impl<K> Ahead<K> {
    fn seek<S: Source<Key = K>>(
        &mut self,
        source: &S,
        from: i64,
        direction: Direction,
    ) -> Result<Option<i64>, S::Error> {
        match self.answer {
            Answer::Known(None) => Ok(None),
            Answer::Known(Some(found)) if !beyond(from, found, direction) => Ok(Some(found)),
            _ => {
                let found = self.part.seek(source, from, direction)?;
                self.answer = Answer::Known(found);
                Ok(found)
            }
        }
    }
}

impl<K> List<K> {
    fn seek<S: Source<Key = K>>(
        &mut self,
        source: &S,
        from: i64,
        direction: Direction,
    ) -> Result<Option<i64>, S::Error> {
        let rest = &self.fetched[self.next..];
        let passed = rest.partition_point(|&member| beyond(from, member, direction));
        self.next += passed;
        if self.next == self.fetched.len() && !self.ended {
            // Whoever steps from member to member will want more of them; whoever leaps, not.
            let steps = passed <= 1;
            self.count = if steps { (self.count * 2).min(FETCH_MOST) } else { FETCH_FIRST };
            self.fetched = source.fetch(&self.key, from, self.count)?;
            self.next = 0;
            self.ended = self.fetched.len() < self.count;
        }
        Ok(self.fetched.get(self.next).copied())
    }
}

/// Whether `position` lies beyond `other` in reading order.
fn beyond(position: i64, other: i64, direction: Direction) -> bool {
    match direction {
        Direction::Forward => position > other,
        Direction::Backward => position < other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;
    use proptest::prelude::*;

    /// Lists in memory, by index.
    struct Lists {
        lists: Vec<BTreeSet<i64>>,
        direction: Direction,
    }

    impl Source for Lists {
        type Key = usize;
        type Error = Infallible;

        fn fetch(&self, key: &usize, from: i64, n: usize) -> Result<Vec<i64>, Infallible> {
            let list = &self.lists[*key];
            Ok(match self.direction {
                Direction::Forward => list.range(from..).take(n).copied().collect(),
                Direction::Backward => list.range(..=from).rev().take(n).copied().collect(),
            })
        }
    }

    /// The plain meaning of an expression.
    #[derive(Debug, Clone)]
    enum Plain {
        List(usize),
        All(Vec<Plain>),
        Any(Vec<Plain>),
    }

    impl Plain {
        fn has(&self, lists: &[BTreeSet<i64>], member: i64) -> bool {
            match self {
                Self::List(index) => lists[*index].contains(&member),
                Self::All(parts) => parts.iter().all(|part| part.has(lists, member)),
                Self::Any(parts) => parts.iter().any(|part| part.has(lists, member)),
            }
        }

        fn postings(&self) -> Postings<usize> {
            match self {
                Self::List(index) => Postings::list(*index),
                Self::All(parts) => Postings::All(parts.iter().map(Self::postings).collect()),
                Self::Any(parts) => Postings::any(parts.iter().map(Self::postings)),
            }
        }
    }

    fn plain() -> impl Strategy<Value = Plain> {
        (0..4_usize).prop_map(Plain::List).prop_recursive(3, 12, 4, |part| {
            prop_oneof![
                prop::collection::vec(part.clone(), 1..4).prop_map(Plain::All),
                prop::collection::vec(part, 0..4).prop_map(Plain::Any),
            ]
        })
    }

    fn read(postings: &mut Postings<usize>, lists: &Lists) -> Vec<i64> {
        let (mut from, step) = match lists.direction {
            Direction::Forward => (0, 1),
            Direction::Backward => (700, -1),
        };
        let mut members = Vec::new();
        while let Ok(Some(member)) = postings.seek(lists, from, lists.direction) {
            members.push(member);
            from = member + step;
        }
        members
    }

    proptest! {
        #[test]
        fn leaping_finds_what_scanning_finds(
            lists in prop::collection::vec(prop::collection::btree_set(0..600_i64, 0..400), 4),
            expression in plain(),
        ) {
            let mut expected: Vec<i64> =
                (0..600).filter(|&member| expression.has(&lists, member)).collect();
            let mut lists = Lists { lists, direction: Direction::Forward };
            prop_assert_eq!(&read(&mut expression.postings(), &lists), &expected);
            lists.direction = Direction::Backward;
            expected.reverse();
            prop_assert_eq!(&read(&mut expression.postings(), &lists), &expected);
        }
    }
}
