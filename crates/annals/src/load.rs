//! Loading: the fold of a stream, as it is or as it was.

use annals_core::error::{Fault, ReadError};
use annals_core::{
    EventId, EventStore, EventStream, NewEvent, Position, Read, Receipt, RecordedEvent, Snapshot,
    StreamId, Timestamp, Version,
};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use crate::aggregate::stream_of;
use crate::error::{DecodeError, LoadError};
use crate::event::decode;
use crate::process::is_kept;
use crate::snapshot::Tail;
use crate::standing::Marker;
use crate::{Aggregate, Annals, NotOpen, Standing};

/// An aggregate as it was loaded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The stream it was folded from.
    pub stream: StreamId,
    /// The state; the default when the stream has no events.
    pub state: A,
    /// The version of the last event folded; [`Version::EMPTY`] when there was none.
    pub version: Version,
    /// The position of the last event folded; [`Position::START`] when there was none.
    pub position: Position,
    /// Whether the stream may grow.
    pub standing: Standing,
    /// The last event folded, by which it is told whether the stream is still the same.
    pub(crate) last_event: Option<EventId>,
    /// What had to be folded besides the last snapshot.
    tail: Tail,
}

/// A point in a stream's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum AsOf {
    /// As it was at this moment: with the events recorded then or before.
    Time(Timestamp),
    /// As it was at this version, the event with that version included.
    Version(Version),
}

impl From<Timestamp> for AsOf {
    fn from(moment: Timestamp) -> Self {
        Self::Time(moment)
    }
}

impl From<Version> for AsOf {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl Annals {
    /// Loads the aggregate with this id. One that has no events is its default at version 0.
    ///
    /// ```
    /// # use annals::{Aggregate, Annals, Apply, Event, MemoryStore, Version};
    /// # #[derive(Event)] enum AccountEvent { MoneyDeposited { amount: u64 } }
    /// # #[derive(Default, Aggregate)]
    /// # #[aggregate(category = "account", event = AccountEvent)]
    /// # struct Account { balance: u64 }
    /// # impl Apply<AccountEvent> for Account { fn apply(&mut self, event: AccountEvent) {} }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bank = Annals::new(MemoryStore::new());
    /// let account = bank.load::<Account>("ACC_123").await?;
    /// assert_eq!((account.state.balance, account.version), (0, Version::EMPTY));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`LoadError`]: the id is not valid, the store cannot read, or it holds an event that the
    /// aggregate does not know.
    pub async fn load<A: Aggregate>(&self, id: impl Into<A::Id>) -> Result<Loaded<A>, LoadError> {
        let loaded: Loaded<A> = self.load_in(stream_of::<A>(id)?).await?;
        if loaded.standing == Standing::Deleted {
            return Err(LoadError::Deleted(loaded.stream));
        }
        Ok(loaded)
    }

    /// The fold of a stream, whatever its standing, kept for those who load it next.
    pub(crate) async fn load_in<A: Aggregate>(
        &self,
        stream: StreamId,
    ) -> Result<Loaded<A>, LoadError> {
        let mut loaded = self.load_kept(stream).await?;
        self.keep(&mut loaded);
        Ok(loaded)
    }

    /// The fold of a stream, from the newest one that is kept on.
    pub(crate) async fn load_kept<A: Aggregate>(
        &self,
        stream: StreamId,
    ) -> Result<Loaded<A>, LoadError> {
        if let Some(mut cached) = self.cached::<A>(&stream) {
            if cached.resume(self.store(), Version::END).await? {
                return Ok(cached);
            }
            self.uncache::<A>(&stream);
        }
        self.load_unless_cached(stream).await
    }

    /// The same without the cache.
    pub(crate) async fn load_unless_cached<A: Aggregate>(
        &self,
        stream: StreamId,
    ) -> Result<Loaded<A>, LoadError> {
        if let Some(mut snapshot) = self.kept_snapshot::<A>(&stream).await {
            if snapshot.resume(self.store(), Version::END).await? {
                return Ok(snapshot);
            }
            tracing::warn!(%stream, "folding without a snapshot: it is of another past");
            self.forget_snapshot::<A>(&stream).await;
        }
        self.fold_whole(stream).await
    }

    /// The fold of a stream from its first event on.
    pub(crate) async fn fold_whole<A: Aggregate>(
        &self,
        stream: StreamId,
    ) -> Result<Loaded<A>, LoadError> {
        let mut loaded = Loaded::empty(stream);
        loaded.catch_up(self.store()).await?;
        Ok(loaded)
    }

    /// Keeps a fold for those who load it next.
    pub(crate) fn keep<A: Aggregate>(&self, loaded: &mut Loaded<A>) {
        self.keep_snapshot(loaded);
        self.cache(loaded);
    }

    /// Loads the aggregate with this id as it was at a version or at a moment.
    ///
    /// The answer for a moment is the same for ever once the moment has passed. Before its
    /// first event an aggregate is its default; a version that it has not reached yet gives it
    /// as it is.
    ///
    /// ```no_run
    /// # use annals::{Aggregate, Annals, Apply, Event, Timestamp, Version};
    /// # #[derive(Event)] enum AccountEvent { MoneyDeposited { amount: u64 } }
    /// # #[derive(Default, Aggregate)]
    /// # #[aggregate(category = "account", event = AccountEvent)]
    /// # struct Account { balance: u64 }
    /// # impl Apply<AccountEvent> for Account { fn apply(&mut self, event: AccountEvent) {} }
    /// # async fn example(bank: Annals) -> Result<(), Box<dyn std::error::Error>> {
    /// let at_first = bank.load_as_of::<Account>("ACC_123", Version::FIRST).await?;
    /// let new_year: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    /// let last_year = bank.load_as_of::<Account>("ACC_123", new_year).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_as_of<A: Aggregate>(
        &self,
        id: impl Into<A::Id>,
        as_of: impl Into<AsOf>,
    ) -> Result<Loaded<A>, LoadError> {
        self.load_as_of_in(stream_of::<A>(id)?, as_of.into()).await
    }

    pub(crate) async fn load_as_of_in<A: Aggregate>(
        &self,
        stream: StreamId,
        as_of: AsOf,
    ) -> Result<Loaded<A>, LoadError> {
        if let AsOf::Version(version) = as_of
            && let Some(mut kept) = self.kept_snapshot::<A>(&stream).await
            && kept.version <= version
            && kept.resume(self.store(), version).await?
        {
            return Ok(kept);
        }
        self.fold_as_of(stream, as_of).await
    }

    /// The fold of a stream's past from its first event on.
    pub(crate) async fn fold_as_of<A: Aggregate>(
        &self,
        stream: StreamId,
        as_of: AsOf,
    ) -> Result<Loaded<A>, LoadError> {
        let mut loaded = Loaded::empty(stream);
        let read = Read::stream(loaded.stream.clone());
        let read = match as_of {
            AsOf::Time(moment) => read.as_at(moment),
            AsOf::Version(version) => read.to_version(version),
        };
        loaded.fold(self.store(), self.store().read(read)).await?;
        Ok(loaded)
    }
}

impl<A> Loaded<A> {
    /// The same with a copy of the state.
    pub(crate) fn copy(&self, clone: fn(&A) -> A) -> Self {
        let Self { stream, state, version, position, standing, last_event, tail } = self;
        Self {
            stream: stream.clone(),
            state: clone(state),
            version: *version,
            position: *position,
            standing: *standing,
            last_event: *last_event,
            tail: *tail,
        }
    }

    /// A fold that was kept. It is to be [resumed](Self::resume) before anybody relies on it.
    pub(crate) fn resumed(snapshot: &Snapshot, state: A, standing: Standing) -> Self {
        Self {
            stream: snapshot.stream.clone(),
            state,
            version: snapshot.version,
            position: Position::START,
            standing,
            last_event: Some(snapshot.last_event),
            tail: Tail::default(),
        }
    }

    /// What had to be folded besides the last snapshot.
    pub(crate) fn tail(&self) -> Tail {
        Tail { version: self.version, ..self.tail }
    }

    /// It is in a snapshot now.
    pub(crate) fn kept(&mut self) {
        self.tail = Tail::default();
    }

    pub(crate) fn check_open(&self) -> Result<(), NotOpen> {
        match self.standing {
            Standing::Open => Ok(()),
            standing => Err(NotOpen { stream: self.stream.clone(), standing }),
        }
    }
}

impl<A: Aggregate> Loaded<A> {
    pub(crate) fn empty(stream: StreamId) -> Self {
        Self {
            stream,
            state: A::default(),
            version: Version::EMPTY,
            position: Position::START,
            standing: Standing::Open,
            last_event: None,
            tail: Tail::default(),
        }
    }

    /// Folds what was just appended.
    pub(crate) fn append(&mut self, events: Vec<A::Event>, appended: &[NewEvent], at: &Receipt) {
        self.version =
            at.version_of(&self.stream).expect("a receipt names every stream that was appended to");
        self.position = at.last_position;
        self.last_event = appended.last().map(|event| event.id);
        self.tail.events += appended.len() as u64;
        self.tail.bytes += appended.iter().map(|event| event.data.bytes.len() as u64).sum::<u64>();
        events.into_iter().for_each(|event| self.state.apply(event));
    }

    /// Folds what the stream has gained since: recorded events never change, so what was folded
    /// before need not be read again.
    pub(crate) async fn catch_up(&mut self, store: &dyn EventStore) -> Result<(), LoadError> {
        let tail = Read::stream(self.stream.clone()).from_version(self.version.next());
        self.fold(store, store.read(tail)).await
    }

    /// Goes on from a fold that was kept, if the stream holds the event that it ends with; else
    /// it is of another past, as after the restoring of a backup, and of no use.
    pub(crate) async fn resume(
        &mut self,
        store: &dyn EventStore,
        to_version: Version,
    ) -> Result<bool, LoadError> {
        let tail = Read::stream(self.stream.clone());
        let mut tail = store.read(tail.from_version(self.version).to_version(to_version));
        let first = tail.try_next().await?;
        match first.filter(|first| Some(first.id) == self.last_event) {
            Some(first) if first.version == self.version => self.position = first.position,
            _ => return Ok(false),
        }
        self.fold(store, tail).await?;
        Ok(true)
    }

    async fn fold(
        &mut self,
        store: &dyn EventStore,
        mut history: EventStream,
    ) -> Result<(), LoadError> {
        let began = Instant::now();
        let mut folding = Folding::default();
        while let Some(stored) = history.try_next().await? {
            if let Some(before) = self.fold_next(&stored, &mut folding)? {
                self.fold_again(store, before, &mut folding).await?;
            }
        }
        self.tail.took += began.elapsed();
        folding.finish()
    }

    /// Folds one event more; the version to fold from instead, if that is what it says.
    fn fold_next(
        &mut self,
        stored: &RecordedEvent,
        folding: &mut Folding,
    ) -> Result<Option<Version>, LoadError> {
        self.check_next(stored)?;
        let mut truncated = None;
        match Marker::of(stored)? {
            None => self.apply(stored, folding),
            Some(Marker::Stands(standing)) => self.standing = standing,
            Some(Marker::Truncated { before }) => truncated = Some(before),
        }
        self.version = stored.version;
        self.position = stored.position;
        self.last_event = Some(stored.id);
        self.tail.events += 1;
        self.tail.bytes += stored.data.bytes.len() as u64;
        Ok(truncated)
    }

    /// Folds events that the stream has gained and that are at hand.
    pub(crate) fn fold_these(&mut self, gained: &[RecordedEvent]) -> Result<(), LoadError> {
        let mut folding = Folding::default();
        for stored in gained {
            self.fold_next(stored, &mut folding)?;
        }
        folding.finish()
    }

    fn apply(&mut self, stored: &RecordedEvent, folding: &mut Folding) {
        if is_kept(stored.event_type.as_str()) {
            return;
        }
        match decode::<A::Event>(stored, A::UNKNOWN) {
            Ok(events) => events.for_each(|event| self.state.apply(event)),
            Err(error) => drop(folding.undecodable.get_or_insert(error)),
        }
    }

    /// The fold so far, without the events before a version. A stream is never truncated at an
    /// earlier version than before.
    async fn fold_again(
        &mut self,
        store: &dyn EventStore,
        before: Version,
        folding: &mut Folding,
    ) -> Result<(), LoadError> {
        if before <= folding.from {
            return Ok(());
        }
        *folding = Folding { from: before, undecodable: None };
        let rest = Read::stream(self.stream.clone()).from_version(before).to_version(self.version);
        self.state = A::default();
        let mut rest = store.read(rest);
        while let Some(stored) = rest.try_next().await? {
            if Marker::of(&stored)?.is_none() {
                self.apply(&stored, folding);
            }
        }
        Ok(())
    }

    /// A stream's versions have no gaps and no repeats (S3). A fold over a stream that had
    /// would be a wrong state, and a wrong state decides wrongly.
    fn check_next(&self, stored: &RecordedEvent) -> Result<(), ReadError> {
        let (found, expected) = (stored.version, self.version.next());
        if found == expected && stored.stream == self.stream {
            return Ok(());
        }
        Err(ReadError::Corrupt(Fault::new(format!(
            "reading version {expected} of stream {}, which the store answered with version \
             {found} of stream {}",
            self.stream, stored.stream
        ))))
    }
}

/// How far a fold has come.
#[derive(Debug)]
struct Folding {
    /// The version it began with.
    from: Version,
    /// The first event that could not be decoded: an error, unless the stream turns out to have
    /// been truncated behind it.
    undecodable: Option<DecodeError>,
}

impl Default for Folding {
    fn default() -> Self {
        Self { from: Version::EMPTY, undecodable: None }
    }
}

impl Folding {
    fn finish(self) -> Result<(), LoadError> {
        self.undecodable.map_or(Ok(()), |error| Err(error.into()))
    }
}
