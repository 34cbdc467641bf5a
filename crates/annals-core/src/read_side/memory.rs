//! The read side in memory: for tests and examples, and the plainest statement of the contract.

mod checkpoint;
mod deleting;
mod delivery;
mod inline;
mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use delivery::Queue;

use super::{Advance, Failure, Generation, Lease, Parked, Partition, RowKey};
use crate::error::ReadSideError;
use crate::{Limits, Position, SubscriberName, Timestamp};

pub(crate) use inline::Inline;

/// Checkpoints, rows and deliveries in memory. Clones share them; they are gone with the last.
///
/// ```
/// use annals_core::{
///     CheckpointStore, Enrol, MemoryReadSide, OnNewVersion, Position, Timestamp,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let read_side = MemoryReadSide::new();
/// let enrol = Enrol {
///     subscriber: "balances".parse()?,
///     version: 1,
///     partitions: 1,
///     after: Position::START,
///     on_new_version: OnNewVersion::Refuse,
///     now: Timestamp::EPOCH,
/// };
/// let balances = read_side.enrol(enrol).await?;
/// assert_eq!(balances.generations[0].position(), Position::START);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryReadSide {
    kept: Arc<Mutex<Kept>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Kept {
    subscribers: BTreeMap<SubscriberName, Subscriber>,
    rows: BTreeMap<Place, Rows>,
    queue: Queue,
    /// The last fence that was given away, to whomever: none is that of another lease, also when a
    /// subscriber is deleted and comes again.
    fence: u64,
}

/// Where rows are: those of a generation that is gone wait here to be swept.
type Place = (SubscriberName, Generation);
type Rows = BTreeMap<RowKey, bytes::Bytes>;

/// A subscriber; the order of its generations is that of their numbers.
#[derive(Debug)]
struct Subscriber {
    state: super::SubscriberState,
    generations: Vec<Built>,
    /// The last number that was given away.
    last: Generation,
}

/// A generation.
#[derive(Debug)]
struct Built {
    generation: Generation,
    version: u32,
    role: super::Role,
    begun_at: Timestamp,
    parts: Vec<Part>,
    parked: Vec<Parked>,
}

#[derive(Debug)]
struct Part {
    partition: Partition,
    position: Position,
    events: u64,
    parked: u64,
    moved_at: Timestamp,
    fence: u64,
    owner: Option<(Arc<str>, Timestamp)>,
    failure: Option<Failure>,
}

impl MemoryReadSide {
    /// Nothing yet, and the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, and these limits.
    #[must_use]
    pub fn with(limits: Limits) -> Self {
        Self { kept: Arc::default(), limits }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no code panics while holding the read side")
    }
}

impl Kept {
    /// The part that a lease is for, if it is not lost.
    fn leased(&mut self, lease: &Lease) -> Result<&mut Part, ReadSideError> {
        let (built, index) = self.leased_in(lease)?;
        Ok(&mut built.parts[index])
    }

    fn leased_in(&mut self, lease: &Lease) -> Result<(&mut Built, usize), ReadSideError> {
        let fenced = || ReadSideError::Fenced(lease.subscriber.clone());
        let subscriber = self.subscribers.get_mut(&lease.subscriber).ok_or_else(fenced)?;
        let built = subscriber.generation(lease.generation).ok_or_else(fenced)?;
        let index = lease.partition.index as usize;
        match built.parts.get(index) {
            Some(part) if part.owner.is_some() && part.fence == lease.fence => Ok((built, index)),
            _ => Err(fenced()),
        }
    }

    /// Whether [`advance`](Self::advance) would do it.
    fn check(&mut self, advance: &Advance) -> Result<(), ReadSideError> {
        let position = self.leased(&advance.lease)?.position;
        if advance.follows(position) {
            Ok(())
        } else {
            Err(ReadSideError::Fenced(advance.lease.subscriber.clone()))
        }
    }

    fn advance(&mut self, advance: &Advance) -> Result<(), ReadSideError> {
        self.check(advance)?;
        let (built, index) = self.leased_in(&advance.lease)?;
        built.parked.extend(advance.parked.iter().cloned());
        let part = &mut built.parts[index];
        part.position = advance.to;
        part.events += advance.events;
        part.parked += advance.parked.len() as u64;
        part.moved_at = advance.now;
        part.failure = None;
        Ok(())
    }
}

impl Subscriber {
    fn generation(&mut self, generation: Generation) -> Option<&mut Built> {
        self.generations.iter_mut().find(|built| built.generation == generation)
    }
}
