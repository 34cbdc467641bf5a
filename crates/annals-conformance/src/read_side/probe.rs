//! A read side under test, with words for what a case expects of it.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::{Chain, ReadSideError};
use annals_core::{
    Activation, Advance, Claim, Enrol, EventId, Failure, Generation, Lease, Limits, ListRows,
    OnNewVersion, Parked, PartitionInfo, Position, Row, RowChange, RowKey, SubscriberInfo,
    SubscriberName, Timestamp,
};

use super::{DurableReadSide, ReadSide, ReadSideBackend};
use crate::probe::within;

/// A handle on the read side under test; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    side: Arc<dyn ReadSide>,
}

impl Deref for Probe {
    type Target = dyn ReadSide;

    fn deref(&self) -> &Self::Target {
        &*self.side
    }
}

impl Probe {
    pub(super) async fn open(backend: &dyn ReadSideBackend) -> Self {
        Self::open_with(backend, Limits::DEFAULT).await
    }

    pub(super) async fn open_with(backend: &dyn ReadSideBackend, limits: Limits) -> Self {
        Self { side: backend.open(limits).await }
    }

    pub(super) async fn open_at(backend: &dyn DurableReadSide, place: &str) -> Self {
        Self { side: backend.open_at(place).await }
    }

    /// Enrols version 1 in so many parts, from the start.
    pub(super) async fn enrolled(&self, subscriber: &str, partitions: u32) -> SubscriberInfo {
        must("to enrol", self.enrol(Enrol { partitions, ..enrol(subscriber, 1) })).await
    }

    /// Has a new generation built beside the active one.
    pub(super) async fn begun(&self, subscriber: &str) -> Generation {
        must("to begin a generation", self.begin_generation(enrol(subscriber, 1))).await
    }

    /// Has a generation take the place of the active one, which it must have come as far as.
    pub(super) async fn activated(&self, subscriber: &str, generation: Generation) {
        let subscriber = name(subscriber);
        let activation = must("to activate", self.activate(&subscriber, generation, at(8))).await;
        assert_eq!(activation, Activation::Done, "generation {generation} is not behind");
    }

    /// A generation that is behind the active one does not take its place, and nothing changes.
    pub(super) async fn is_behind(&self, subscriber: &str, generation: Generation) {
        let before = self.status(subscriber).await;
        let named = name(subscriber);
        let activation = must("an answer", self.activate(&named, generation, at(8))).await;
        assert_eq!(activation, Activation::Behind, "readers go back from {before:?}");
        assert_eq!(self.status(subscriber).await, before, "it was not activated");
    }

    /// Claims a part from moment 0 on, which must be free.
    pub(super) async fn claimed(&self, claim: Claim) -> Lease {
        let lease = must("to claim", self.claim(claim.clone())).await;
        lease.unwrap_or_else(|| panic!("{claim:?} must be granted"))
    }

    /// Enrols a subscriber with one part, and claims it.
    pub(super) async fn working(&self, subscriber: &str) -> Lease {
        self.enrolled(subscriber, 1).await;
        self.claimed(claim(subscriber, "owner")).await
    }

    pub(super) async fn status(&self, subscriber: &str) -> SubscriberInfo {
        let found = must("to look at a subscriber", self.subscriber(&name(subscriber))).await;
        found.unwrap_or_else(|| panic!("{subscriber} must be known"))
    }

    /// The first part of the active generation.
    pub(super) async fn part(&self, subscriber: &str) -> PartitionInfo {
        let status = self.status(subscriber).await;
        let active = status.active().unwrap_or_else(|| panic!("{subscriber} must be active"));
        active.partitions[0].clone()
    }

    /// All rows of the active generation.
    pub(super) async fn all_rows(&self, subscriber: &str) -> Vec<Row> {
        let all = ListRows { limit: 1_000_000, ..ListRows::default() };
        must("rows", self.rows(&name(subscriber), all)).await
    }

    /// Those of the generation of a lease that have these keys.
    pub(super) async fn sorted_rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Vec<Row> {
        let mut rows = must("rows", self.rows_of(lease, keys)).await;
        rows.sort_by(|left, right| left.key.cmp(&right.key));
        rows
    }

    /// Nothing can be done with a lease that is lost, and nothing changes because of it.
    pub(super) async fn has_lost(&self, lease: &Lease) {
        let before = self.status(lease.subscriber.as_str()).await;
        fenced("a renewal", self.renew(lease, at(1_000_000))).await;
        fenced("an advance", (**self).advance(&to(lease, Position::END.get()))).await;
        fenced("a failure", self.fail(lease, failure("lost"))).await;
        must("to release", self.release(lease)).await;
        assert_eq!(self.status(lease.subscriber.as_str()).await, before, "with a lost lease");
    }
}

/// What must succeed.
pub(super) async fn must<T>(
    what: &str,
    doing: impl Future<Output = Result<T, ReadSideError>>,
) -> T {
    match within(what, doing).await {
        Ok(done) => done,
        Err(error) => panic!("{what} must succeed, but: {} ({error:?})", Chain(&error)),
    }
}

/// What must be refused because a lease is lost.
pub(super) async fn fenced<T: Debug>(
    what: &str,
    doing: impl Future<Output = Result<T, ReadSideError>>,
) {
    let outcome = within(what, doing).await;
    assert!(matches!(outcome, Err(ReadSideError::Fenced(_))), "{what} must be fenced: {outcome:?}");
}

/// What must be refused because there is no such thing.
pub(super) async fn unknown<T: Debug>(
    what: &str,
    doing: impl Future<Output = Result<T, ReadSideError>>,
) {
    let outcome = within(what, doing).await;
    let unknown = matches!(outcome, Err(ReadSideError::Unknown(_)));
    assert!(unknown, "{what} must be of something unknown: {outcome:?}");
}

/// What must be refused as a wrong call.
pub(super) async fn invalid<T: Debug>(
    what: &str,
    doing: impl Future<Output = Result<T, ReadSideError>>,
) {
    let outcome = within(what, doing).await;
    assert!(matches!(outcome, Err(ReadSideError::Invalid(_))), "{what} is invalid: {outcome:?}");
}

pub(super) fn name(text: &str) -> SubscriberName {
    SubscriberName::new(text).expect("the suite's own names are valid")
}

/// So many seconds after the beginning of a case.
pub(super) fn at(seconds: u64) -> Timestamp {
    let beginning = Timestamp::from_micros(1_700_000_000_123_456);
    beginning.saturating_add(Duration::from_secs(seconds))
}

/// One part, from the start, at moment 0; another version is refused.
pub(super) fn enrol(subscriber: &str, version: u32) -> Enrol {
    Enrol {
        subscriber: name(subscriber),
        version,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: at(0),
    }
}

pub(super) fn rebuild(subscriber: &str, version: u32) -> Enrol {
    Enrol { on_new_version: OnNewVersion::Rebuild, ..enrol(subscriber, version) }
}

/// The first part of the first generation, from moment 0 to moment 10.
pub(super) fn claim(subscriber: &str, owner: &str) -> Claim {
    Claim {
        subscriber: name(subscriber),
        generation: Generation::FIRST,
        partition: 0,
        owner: owner.into(),
        now: at(0),
        until: at(10),
    }
}

/// One event, and the checkpoint behind it.
pub(super) fn to(lease: &Lease, position: u64) -> Advance {
    Advance {
        lease: lease.clone(),
        to: Position::new(position),
        events: 1,
        parked: Vec::new(),
        now: at(position),
    }
}

pub(super) fn failure(error: &str) -> Failure {
    Failure { event: None, error: error.to_owned(), at: at(1) }
}

pub(super) fn event_id(number: u64) -> EventId {
    let mut bytes = [0x5a; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

pub(super) fn parked(position: u64, error: &str) -> Parked {
    Parked {
        position: Position::new(position),
        event: event_id(position),
        error: error.to_owned(),
        at: at(position),
    }
}

pub(super) fn written(key: impl Into<RowKey>, json: impl AsRef<str>) -> RowChange {
    RowChange { key: key.into(), value: Some(json.as_ref().to_owned().into()) }
}

pub(super) fn gone(key: impl Into<RowKey>) -> RowChange {
    RowChange { key: key.into(), value: None }
}

/// Panics unless these are the rows, in this order; values may be written in another way.
#[track_caller]
pub(super) fn same_rows(found: &[Row], expected: &[(&str, &str)]) {
    let json = |text: &[u8]| -> serde_json::Value {
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text:?}"))
    };
    let found: Vec<_> = found.iter().map(|row| (row.key.as_str(), json(&row.value))).collect();
    let expected: Vec<_> =
        expected.iter().map(|(key, text)| (*key, json(text.as_bytes()))).collect();
    let differ = expected.iter().zip(&found).find(|(left, right)| left != right);
    assert!(differ.is_none(), "rows differ, first where {differ:?} (expected, found)");
    assert_eq!(expected.len(), found.len(), "so many rows there must be");
}

/// Texts that have broken databases before.
pub(super) const HOSTILE: [&str; 8] = [
    "",
    "'",
    "\"; DROP TABLE annals; --",
    "%_\\",
    "\u{1f980} \u{e9} e\u{301} \u{202e}",
    "a\nb\tc\r\u{7f}",
    "${1} $1 ?1 :a @a {}",
    "NULL",
];
