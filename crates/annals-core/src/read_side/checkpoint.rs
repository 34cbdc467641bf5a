//! How far subscribers have come, and who works them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::Deleted;
use crate::error::{Invalid, ReadSideError};
use crate::limits::within;
use crate::{EventId, Position, SubscriberName, Timestamp};

/// Which building of a projection: a rebuild makes the next one, beside the one that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// The generation with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, for storing it elsewhere.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One of the parts into which a subscriber's work is divided.
///
/// What belongs to which part is decided by [`of`](Self::of), the same in every process and for
/// ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a part of so many, and nothing else")]
pub struct Partition {
    /// Counted from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Partition {
    /// The most there may be of one subscriber.
    pub const COUNT_MAX: u32 = 1024;

    /// The only one.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The part that `key` belongs to, of so many: FNV-1a over its bytes.
    #[must_use]
    pub fn of(key: &str, count: u32) -> u32 {
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The lower bits alone of such short keys are too even.
        let mixed = (hash ^ (hash >> 32)) % u64::from(count.max(1));
        u32::try_from(mixed).expect("a remainder is less than the u32 it is of")
    }

    /// Whether `key` belongs to this part.
    #[must_use]
    pub fn owns(self, key: &str) -> bool {
        self.count <= 1 || Self::of(key, self.count) == self.index
    }
}

/// Who begins to work.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Enrol {
    /// The subscriber.
    pub subscriber: SubscriberName,
    /// Which version of its code.
    pub version: u32,
    /// In how many parts its work is divided, if it is a new one.
    pub partitions: u32,
    /// After which position it begins, if it is a new one.
    pub after: Position,
    /// What to do if the stored version is another.
    pub on_new_version: OnNewVersion,
    /// The present moment.
    pub now: Timestamp,
}

impl Enrol {
    /// Checks in how many parts the work is to be divided: from 1 to
    /// [`Partition::COUNT_MAX`]. Every read side does so first.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], or [`Invalid::NoPartitions`].
    pub fn check(&self) -> Result<(), Invalid> {
        if self.partitions == 0 {
            return Err(Invalid::NoPartitions);
        }
        within("partitions_max", Partition::COUNT_MAX as usize, self.partitions as usize)
    }
}

/// What to do when a subscriber's code has another version than what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "nothing else can be done about it")]
pub enum OnNewVersion {
    /// Answer [`ReadSideError::OtherVersion`].
    #[default]
    Refuse,
    /// Begin, or go on with, a new generation beside the active one, which goes on being read.
    Rebuild,
}

/// Whether a subscriber works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriberState {
    /// It works.
    Running,
    /// It was told to wait, and does so until it is told to go on, also after a restart.
    Paused,
    /// An inbox takes no new deliveries: events that come meanwhile will never be delivered to it.
    Disabled,
}

/// What a generation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// It is the one that is read.
    Active,
    /// It is being built, to take the active one's place.
    Building,
}

/// A subscriber and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct SubscriberInfo {
    /// Its name.
    pub subscriber: SubscriberName,
    /// Whether it works.
    pub state: SubscriberState,
    /// The active generation, and behind it one that is being built, if there is one.
    pub generations: Vec<GenerationInfo>,
}

impl SubscriberInfo {
    /// The version that every inbox enrols with, and no projection.
    pub const INBOX_VERSION: u32 = 0;

    /// Whether it is an inbox, and not a projection.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        self.active().is_some_and(|active| active.version == Self::INBOX_VERSION)
    }

    /// The generation that is read.
    #[must_use]
    pub fn active(&self) -> Option<&GenerationInfo> {
        self.generations.iter().find(|generation| generation.role == Role::Active)
    }

    /// The generation that is being built.
    #[must_use]
    pub fn building(&self) -> Option<&GenerationInfo> {
        self.generations.iter().find(|generation| generation.role == Role::Building)
    }
}

/// A generation and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct GenerationInfo {
    /// Which one.
    pub generation: Generation,
    /// Which version of the code makes it.
    pub version: u32,
    /// What it is for.
    pub role: Role,
    /// Since when it has been made.
    pub begun_at: Timestamp,
    /// Its parts, by their index.
    pub partitions: Vec<PartitionInfo>,
}

impl GenerationInfo {
    /// How far all of its parts have come.
    #[must_use]
    pub fn position(&self) -> Position {
        self.partitions.iter().map(|part| part.position).min().unwrap_or(Position::START)
    }

    /// Whether whoever reads `active` would not go back if this one took its place.
    ///
    /// In the same parts, made by the same code, each part must have come as far as its
    /// counterpart. Otherwise what was in one part may be in any other now, so that the last must
    /// have come as far as the first of them.
    #[must_use]
    pub fn is_as_far_as(&self, active: &Self) -> bool {
        let is_divided_alike =
            self.version == active.version && self.partitions.len() == active.partitions.len();
        if is_divided_alike {
            let mut both = self.partitions.iter().zip(&active.partitions);
            return both.all(|(new, old)| new.position >= old.position);
        }
        active.partitions.iter().all(|old| self.position() >= old.position)
    }
}

/// One part of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct PartitionInfo {
    /// Which part.
    pub partition: Partition,
    /// Its checkpoint.
    pub position: Position,
    /// How many events were applied to come so far.
    pub events: u64,
    /// How many of them were parked.
    pub parked: u64,
    /// When the checkpoint last moved.
    pub moved_at: Timestamp,
    /// Who works it, and until when that is certain.
    pub owner: Option<(String, Timestamp)>,
    /// Why it does not go on.
    pub failure: Option<Failure>,
}

/// Why a part does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Failure {
    /// The event that could not be applied, if it was one.
    pub event: Option<(Position, EventId)>,
    /// What went wrong, with all its reasons.
    pub error: String,
    /// Since when.
    pub at: Timestamp,
}

/// What came of [activating](CheckpointStore::activate) a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is read from now on, or not yet")]
#[must_use = "a generation that is behind goes on being built"]
pub enum Activation {
    /// It is the active one.
    Done,
    /// It has not [come as far](GenerationInfo::is_as_far_as) as the active one, which stays.
    Behind,
}

/// A wish to work one part.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Claim {
    /// Whose.
    pub subscriber: SubscriberName,
    /// Of which generation.
    pub generation: Generation,
    /// Which part.
    pub partition: u32,
    /// Who wants it: one text for each process, or task, that works.
    pub owner: Arc<str>,
    /// The present moment.
    pub now: Timestamp,
    /// Until when it wants to have it.
    pub until: Timestamp,
}

/// The right to work one part, until somebody else has got it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct Lease {
    /// Whose part.
    pub subscriber: SubscriberName,
    /// Of which generation.
    pub generation: Generation,
    /// Which part, of how many.
    pub partition: Partition,
    /// Increases each time the part gets another owner: whoever comes with an older one has lost
    /// it, whatever the clocks say.
    pub fence: u64,
    /// Where the checkpoint was when it was claimed.
    pub position: Position,
    /// Why it does not go on, if that was so when it was claimed.
    pub failure: Option<Failure>,
}

/// What has become of a lease that was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct Renewed {
    /// What the subscriber was told.
    pub state: SubscriberState,
    /// What the generation is for.
    pub role: Role,
    /// Whether a failure stands against the part: gone after it was [resumed](CheckpointStore::set_state).
    pub failed: bool,
}

/// A checkpoint moves.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Advance {
    /// By whom.
    pub lease: Lease,
    /// Where to: on from where the checkpoint is.
    pub to: Position,
    /// How many events were applied on the way.
    pub events: u64,
    /// Events on the way that could not be applied, and are put aside.
    pub parked: Vec<Parked>,
    /// The present moment.
    pub now: Timestamp,
}

impl Advance {
    /// Whether it goes on from a checkpoint that stands here. One that was made already, the
    /// answer to which was lost, does not: its events must not be applied twice.
    ///
    /// To the same place it may go without any event, and changes nothing then but the failure
    /// that stood against the part.
    #[must_use]
    pub fn follows(&self, checkpoint: Position) -> bool {
        let empty = self.events == 0 && self.parked.is_empty();
        self.to > checkpoint || (self.to == checkpoint && empty)
    }
}

/// An event that was put aside, because a subscriber cannot apply it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Parked {
    /// Where the event stands.
    pub position: Position,
    /// Its id.
    pub event: EventId,
    /// What went wrong, with all its reasons.
    pub error: String,
    /// When.
    pub at: Timestamp,
}

/// A database that keeps checkpoints, and who may move them.
///
/// A subscriber has generations, and each of these so many parts; each part has a checkpoint and
/// at most one owner. A database that also keeps what is derived moves the checkpoint in the same
/// transaction.
#[async_trait]
pub trait CheckpointStore: Send + Sync + fmt::Debug {
    /// Makes a subscriber known, and says how it stands.
    ///
    /// A new one gets an active generation, [`Generation::FIRST`], whose parts begin after
    /// [`Enrol::after`]. One whose active generation, or the one that is being built, has this
    /// version is left as it is, also in how many parts it has. Otherwise, what
    /// [`Enrol::on_new_version`] says: a generation that was being built by yet another version
    /// is discarded.
    ///
    /// # Errors
    /// [`ReadSideError::OtherVersion`], [`ReadSideError::Invalid`] for a number of parts that
    /// [`Enrol::check`] refuses, or when the database does not answer.
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo, ReadSideError>;

    /// Begins a generation beside the active one, with the version and the parts that
    /// [`Enrol`] gives, from [`Enrol::after`] on; `on_new_version` says nothing here. One that is being built
    /// already is discarded first. No generation of a subscriber has a number that another had
    /// before it, whatever became of that one.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] for a subscriber that never enrolled,
    /// [`ReadSideError::Invalid`] as in [`enrol`](Self::enrol), and
    /// [`ReadSideError::Unsupported`] for one that runs inline: nobody would work it.
    async fn begin_generation(&self, enrol: Enrol) -> Result<Generation, ReadSideError>;

    /// Makes the generation that is being built the active one, and forgets the other with all
    /// that is kept for it here; whoever works that one finds its leases fenced.
    ///
    /// Readers never go back: it takes the place only when it [has come as
    /// far](GenerationInfo::is_as_far_as) as the active one, which cannot move between that look
    /// and the end of it. When it has not, nothing changes and the answer is
    /// [`Activation::Behind`]: let it be worked on, and try again.
    ///
    /// Does nothing when it is the active one already.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] when there is no such generation.
    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ReadSideError>;

    /// Forgets the generation that is being built, if this is it; whoever works it finds its
    /// leases fenced. Does nothing otherwise.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> Result<(), ReadSideError>;

    /// Gets the right to work a part, if nobody has it, or its owner's time is up, which is so
    /// from [`Claim::until`] on, or it is this owner's already. Each claim that succeeds has a
    /// higher fence than all before it, so that every older lease is lost.
    ///
    /// `None` when somebody else has it. Whether the subscriber is to wait plays no part here:
    /// [`renew`](Self::renew) says so.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] when there is no such part, or no more.
    async fn claim(&self, claim: Claim) -> Result<Option<Lease>, ReadSideError>;

    /// Keeps the right to work a part for longer, and tells what the owner should know. That its
    /// time was up does not matter, as long as nobody else has claimed it.
    ///
    /// # Errors
    /// [`ReadSideError::Fenced`] when the lease is lost: the part was claimed again, or given
    /// back, or its generation is gone.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed, ReadSideError>;

    /// Gives the right back. With a lease that is lost already, it does nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn release(&self, lease: &Lease) -> Result<(), ReadSideError>;

    /// Moves a checkpoint, and takes away the failure that stood against its part.
    ///
    /// When the database does not answer it may have moved or not: claim the part again, and go
    /// on from where the lease says.
    ///
    /// # Errors
    /// [`ReadSideError::Fenced`] when the lease is lost as in [`renew`](Self::renew), or the
    /// checkpoint stands where the advance does not [follow](Advance::follows): then nothing has
    /// changed.
    async fn advance(&self, advance: &Advance) -> Result<(), ReadSideError>;

    /// Says why a part does not go on. Its owner keeps it.
    ///
    /// NUL in the text of an error may be kept as another character, here and where events are
    /// parked.
    ///
    /// # Errors
    /// [`ReadSideError::Fenced`] when the lease is lost.
    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<(), ReadSideError>;

    /// Tells a subscriber to work, to wait, or to take nothing new. [`SubscriberState::Running`]
    /// also takes away the failures that stand against its parts, so that they try again.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] for a subscriber that never enrolled;
    /// [`ReadSideError::Unsupported`] where one that runs inline cannot wait.
    async fn set_state(
        &self,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> Result<(), ReadSideError>;

    /// Deletes a subscriber that nobody runs any more: its name, what it was told, its generations
    /// with their parts and what they have parked, and all else that this database keeps for it:
    /// rows, the tables of projections in SQL, deliveries with their attempts. Says what went.
    /// Whoever still has a lease or a delivery of it has lost them; who
    /// [enrols](Self::enrol) it again begins a new one, and no lease or token from before is taken
    /// for one of that.
    ///
    /// Whether anybody uses it is found out, and the generations go, in one transaction: from then
    /// on it is unknown, and nothing of it is worked. Rows and deliveries may be many, and go
    /// after that in steps, the last of which takes the name. When one of them fails, delete it
    /// once more. If it is enrolled instead, it begins anew, and the deliveries that are left are
    /// made.
    ///
    /// An inbox that reads no log has no lease while it has nothing to do: who runs it cannot be
    /// seen here.
    ///
    /// # Errors
    /// [`ReadSideError::InUse`] while somebody has a lease on one of its parts that lasts longer
    /// than until now, or deliveries that are not overdue, or appends run it: then nothing has
    /// changed. Also when it is enrolled before all of it is gone.
    /// [`ReadSideError::Unknown`] when nothing is kept for such a name.
    async fn delete(
        &self,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Result<Deleted, ReadSideError>;

    /// All subscribers, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn subscribers(&self) -> Result<Vec<SubscriberInfo>, ReadSideError>;

    /// One subscriber.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn subscriber(
        &self,
        subscriber: &SubscriberName,
    ) -> Result<Option<SubscriberInfo>, ReadSideError>;

    /// The events that the active generation and the one being built have put aside, the lowest
    /// position first, at most so many. One that both have put aside is there twice.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn parked(
        &self,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> Result<Vec<Parked>, ReadSideError>;
}
