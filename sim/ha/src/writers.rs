//! Those who append through the store: to streams of their own and to shared ones, under
//! expected versions and conditions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::error::Chain;
use annals_core::{
    Append, AppendCondition, AppendError, Clock, Data, EventStore, EventStoreExt, EventType,
    ExpectedVersion, NewEvent, Query, QueryItem, Receipt, StreamId, SystemClock, Tag, Version,
};
use annals_postgres::PostgresStore;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::ledger::Ledger;

pub(crate) const SHARED_STREAMS: u64 = 8;
/// How long a writer rests between two appends: there is to be load, not a race.
const REST: Duration = Duration::from_millis(10);
/// How long one rests whose append was not acknowledged.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// An append whose outcome stays unknown for so long breaks a promise.
pub(crate) const REPEATED_MAX: Duration = Duration::from_secs(200);

/// How a writer appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// To shared streams, whatever they hold.
    Any,
    /// To shared streams at the version it has just read.
    Exact,
    /// To a stream of its own, at the version it knows from the receipts.
    Own,
    /// Claims numbers that another writer wants too, each under a condition.
    Claim,
    /// To its own stream and to a shared one at once.
    Both,
}

pub(crate) struct Writer {
    pub(crate) number: u64,
    pub(crate) manner: Manner,
    pub(crate) store: PostgresStore,
    /// By which an append is repeated whose outcome is unknown.
    pub(crate) repeat_by: PostgresStore,
    pub(crate) ledger: Arc<Ledger>,
    /// Whether its appends go the usual way.
    pub(crate) through_proxy: bool,
}

/// What became of an append in the end.
pub(crate) enum Outcome {
    Stored(Receipt),
    Conflict,
    /// Nothing was written, and nobody knows whether it could be.
    Refused,
}

impl Writer {
    /// Appends until it is told to stop.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) {
        let (mut count, mut own, mut claim) = (0, Version::EMPTY, 0);
        while !*stop.borrow() {
            count += 1;
            let outcome = match self.manner {
                Manner::Any => self.perform(self.to_shared(count, ExpectedVersion::Any)).await,
                Manner::Exact => self.at_what_is_read(count).await,
                Manner::Own => self.to_own(count, &mut own).await,
                Manner::Claim => self.claim(count, &mut claim).await,
                Manner::Both => self.perform(self.to_both(count)).await,
            };
            sleep(if matches!(outcome, Outcome::Refused) { AFTER_FAILURE } else { REST }).await;
        }
    }

    async fn at_what_is_read(&self, count: u64) -> Outcome {
        match self.store.version_of(self.shared(count)).await {
            Ok(version) => {
                self.perform(self.to_shared(count, ExpectedVersion::Exact(version))).await
            }
            Err(_) => Outcome::Refused,
        }
    }

    /// Nobody else writes to the stream, so it is always where the receipts say.
    async fn to_own(&self, count: u64, own: &mut Version) -> Outcome {
        let expected = match own.get() {
            0 => ExpectedVersion::NoStream,
            _ => ExpectedVersion::Exact(*own),
        };
        let append = Append::to(self.own(), expected, self.events(count));
        let outcome = self.perform(append).await;
        match &outcome {
            Outcome::Stored(receipt) => {
                let found = receipt.version_of(&self.own()).unwrap_or_default();
                let wanted = Version::new(own.get() + self.events(count).len() as u64);
                if found != wanted {
                    self.ledger.broken(format!("{} is at {found}, not {wanted}", self.own()));
                }
                *own = found;
            }
            Outcome::Conflict => {
                self.ledger.broken(format!(
                    "{} is not at version {own}, but nobody else writes to it",
                    self.own()
                ));
                if let Ok(version) = self.store.version_of(self.own()).await {
                    *own = version;
                }
            }
            Outcome::Refused => {}
        }
        outcome
    }

    async fn claim(&self, count: u64, claim: &mut u64) -> Outcome {
        let tag = Tag::new(format!("claim:{claim}")).expect("a valid name");
        let free = AppendCondition::none_match(Query::of(QueryItem::new().tag(tag.clone())));
        let claimed = self.event("Claimed", count).tagged(tag);
        let append = Append::to(self.own(), ExpectedVersion::Any, [claimed]).only_if(free);
        let outcome = self.perform(append).await;
        if !matches!(outcome, Outcome::Refused) {
            // It is taken now, by whomever.
            *claim += 1;
        }
        outcome
    }

    fn to_shared(&self, count: u64, expected: ExpectedVersion) -> Append {
        Append::to(self.shared(count), expected, self.events(count))
    }

    fn to_both(&self, count: u64) -> Append {
        self.to_shared(count, ExpectedVersion::Any).and_to(
            self.own(),
            ExpectedVersion::Any,
            self.events(count + 1),
        )
    }

    fn shared(&self, count: u64) -> StreamId {
        let number = (self.number + count) % SHARED_STREAMS;
        StreamId::new(format!("shared-{number}")).expect("a valid name")
    }

    fn own(&self) -> StreamId {
        StreamId::new(format!("own-{}", self.number)).expect("a valid name")
    }

    /// One to three events.
    fn events(&self, count: u64) -> Vec<NewEvent> {
        let types = ["Noted", "Counted", "Noted"];
        let number = usize::try_from(1 + count % 3).expect("at most three");
        types[..number].iter().map(|name| self.event(name, count)).collect()
    }

    fn event(&self, name: &str, count: u64) -> NewEvent {
        let data = format!(r#"{{"writer":{},"count":{count}}}"#, self.number);
        let tag = Tag::new(format!("writer:{}", self.number)).expect("a valid name");
        let event_type = EventType::new(name).expect("a valid name");
        NewEvent::new(event_type, Data::json(data)).tagged(tag)
    }

    /// Appends, and repeats with the same ids for as long as the outcome is unknown.
    async fn perform(&self, append: Append) -> Outcome {
        let ledger = &self.ledger;
        ledger.count(|counts| counts.begun += 1);
        let (mut store, mut unknown_since) = (&self.store, None);
        loop {
            let error = match store.append(append.clone()).await {
                Ok(receipt) => {
                    if unknown_since.is_some_and(|(_, since)| receipt.recorded_at < since) {
                        ledger.count(|counts| counts.had_been_stored += 1);
                    }
                    ledger.acknowledge(&append, &receipt, self.through_proxy);
                    if unknown_since.is_some() {
                        ledger.was_unknown(append, receipt.clone());
                    }
                    return Outcome::Stored(receipt);
                }
                Err(error) => error,
            };
            match error {
                AppendError::Conflict(conflict) => {
                    ledger.count(|counts| counts.conflicts += 1);
                    ledger.refuse(&append, conflict.to_string());
                    return Outcome::Conflict;
                }
                AppendError::Indeterminate(_) if unknown_since.is_none() => {
                    ledger.count(|counts| counts.indeterminate += 1);
                    unknown_since = Some((Instant::now(), SystemClock.now()));
                    store = &self.repeat_by;
                }
                // Of the repeat nothing was written; what of the first attempt is as unknown as before.
                AppendError::Indeterminate(_) | AppendError::Unavailable(_)
                    if unknown_since.is_some() => {}
                AppendError::Unavailable(_) => {
                    ledger.count(|counts| counts.unavailable += 1);
                    ledger.refuse(&append, Chain(&error).to_string());
                    return Outcome::Refused;
                }
                other => {
                    ledger.broken(format!("an append failed: {}", Chain(&other)));
                    return Outcome::Refused;
                }
            }
            if unknown_since.is_some_and(|(since, _)| since.elapsed() > REPEATED_MAX) {
                ledger.broken(format!("the outcome of an append stays unknown: {append:?}"));
                return Outcome::Refused;
            }
            sleep(AFTER_FAILURE).await;
            ledger.count(|counts| counts.repeats += 1);
        }
    }
}
