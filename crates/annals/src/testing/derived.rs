//! Tests of a projection: given events, then rows.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use annals_core::{Partition, Position, RecordedEvent, RowFold, RowKey, StreamId};
use bytes::Bytes;
use similar::TextDiff;

use crate::projection::Applying;
use crate::testing::failure::{chain, told};
use crate::testing::world::World;
use crate::{Event, Projection};

/// A projection, and what has happened; say [`given`](Self::given), then what its rows are.
#[derive(Debug)]
pub struct Projected<P: Projection> {
    world: World,
    applying: Applying<P>,
}

/// A projection to be tested: pure, without a database, and as it would run in one.
///
/// ```
/// # use annals::{Event, Projection, RecordedEvent, RowKey};
/// # #[derive(Debug, Event)] enum AccountEvent { MoneyDeposited { amount: u64 }, AccountClosed }
/// # use AccountEvent::*;
/// # struct Balances;
/// # impl Projection for Balances {
/// #     type Event = AccountEvent;
/// #     type Row = u64;
/// #     const NAME: &'static str = "balances";
/// #     fn apply(&self, _: &RowKey, row: Option<u64>, event: &AccountEvent, _: &RecordedEvent) -> Option<u64> {
/// #         match event { MoneyDeposited { amount } => Some(row.unwrap_or(0) + amount), AccountClosed => None }
/// #     }
/// # }
/// use annals::testing::project;
///
/// project(Balances)
///     .given("account-1", [MoneyDeposited { amount: 5 }, MoneyDeposited { amount: 6 }])
///     .given("account-2", [MoneyDeposited { amount: 7 }, AccountClosed])
///     .then_row("1", 11)
///     .then_rows([("1", 11)]);
/// ```
///
/// Whenever rows are looked at, they are also made in three parts that know nothing of each other,
/// as in a rebuild, and must come to the same.
///
/// # Panics
/// When the projection's name is not valid.
pub fn project<P: Projection>(projection: P) -> Projected<P> {
    Projected { world: World::new(), applying: Applying::new(projection) }
}

impl<P> Projected<P>
where
    P: Projection,
    P::Row: Debug + PartialEq,
{
    /// Events that have happened in a stream, behind those given before.
    ///
    /// # Panics
    /// When the stream's name is not valid, or an event cannot be stored.
    #[track_caller]
    pub fn given<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Self {
        match StreamId::new(stream) {
            Ok(stream) => self.world.give(&stream, events),
            Err(error) => panic!("events cannot be given in {stream:?}: {error}"),
        }
        self
    }

    /// There is a row under this key, and it is like this.
    ///
    /// # Panics
    /// When it is not, with all rows and what was given.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a row written where it is demanded")]
    pub fn then_row(self, key: impl Into<RowKey>, row: P::Row) -> Self {
        let (key, rows) = (key.into(), self.rows());
        if rows.get(&key) != Some(&row) {
            let found = rows.get(&key).map_or("no row".to_owned(), |row| format!("{row:#?}"));
            self.fail(&format!("the row {key} is another"), &format!("{row:#?}"), &found);
        }
        self
    }

    /// There is no row under this key.
    ///
    /// # Panics
    /// When there is one.
    #[track_caller]
    pub fn then_no_row(self, key: impl Into<RowKey>) -> Self {
        let key = key.into();
        if let Some(row) = self.rows().get(&key) {
            self.fail(&format!("there is a row {key}"), "no row", &format!("{row:#?}"));
        }
        self
    }

    /// These are all rows that there are.
    ///
    /// # Panics
    /// When there are others.
    #[track_caller]
    pub fn then_rows<K: Into<RowKey>>(self, rows: impl IntoIterator<Item = (K, P::Row)>) -> Self {
        let expected: BTreeMap<RowKey, P::Row> =
            rows.into_iter().map(|(key, row)| (key.into(), row)).collect();
        let found = self.rows();
        if found != expected {
            self.fail("the rows are others", &format!("{expected:#?}"), &format!("{found:#?}"));
        }
        self
    }

    /// Applying what was given stops at an event that cannot be applied.
    ///
    /// # Panics
    /// When all of it can be applied.
    #[track_caller]
    pub fn then_poisoned(self) {
        if let Ok(rows) = self.fold(Partition::WHOLE) {
            let found = format!("{:#?}", rows.keys());
            self.fail("every event can be applied", "a poison event", &found);
        }
    }

    /// All rows.
    #[track_caller]
    fn rows(&self) -> BTreeMap<RowKey, P::Row> {
        const PARTS: u32 = 3;
        let whole = self.folded(Partition::WHOLE);
        let mut parted = BTreeMap::new();
        for index in 0..PARTS {
            parted.extend(self.folded(Partition { index, count: PARTS }));
        }
        if whole != parted {
            let (whole, parted) = (format!("{whole:#?}"), format!("{parted:#?}"));
            let what = "rows made in three parts are others: a row depends on another one, or on \
                        something outside";
            self.fail(what, &whole, &parted);
        }
        whole
    }

    #[track_caller]
    fn folded(&self, partition: Partition) -> BTreeMap<RowKey, P::Row> {
        match self.fold(partition) {
            Ok(rows) => rows,
            Err(error) => panic!("an event cannot be applied: {}", chain(&error)),
        }
    }

    fn fold(
        &self,
        partition: Partition,
    ) -> Result<BTreeMap<RowKey, P::Row>, annals_core::PoisonEvent> {
        let mut rows = HashMap::<RowKey, Bytes>::new();
        let mut last = None;
        for event in self.log() {
            let concerns = RowFold::query(&self.applying).matches(&event)
                && self.applying.concerns(&event, partition);
            if concerns {
                self.applying.fold(&event, &mut rows, &|key| partition.owns(key.as_str()))?;
                last = Some(event);
            }
        }
        let Some(last) = last else { return Ok(BTreeMap::new()) };
        rows.into_iter()
            .map(|(key, value)| Ok((key, crate::projection::row_of(&value, &last)?)))
            .collect()
    }

    fn log(&self) -> Vec<RecordedEvent> {
        self.world.log(Position::START)
    }

    #[track_caller]
    fn fail(&self, what: &str, expected: &str, found: &str) -> ! {
        let diff = TextDiff::from_lines(expected, found).unified_diff().to_string();
        let given: Vec<_> = self
            .log()
            .iter()
            .map(|event| format!("    {}: {}", event.stream, told(event)))
            .collect();
        panic!("{what}\n\ngiven:\n{}\n\nexpected (-) and found (+):\n{diff}", given.join("\n"));
    }
}
