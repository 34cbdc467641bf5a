//! How a projection is run.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{Ids as _, OnNewVersion, Position, Projector, RandomIds};

use super::running::RunningProjection;
use super::supervisor::Supervisor;
use crate::Annals;

/// How a projection is going to be run; begun by [`Annals::project`].
#[derive(Debug)]
#[must_use = "a projection runs when it is started"]
pub struct Projecting {
    pub(super) annals: Annals,
    pub(super) projector: Arc<dyn Projector>,
    pub(super) options: Options,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) partitions: u32,
    pub(super) after: Position,
    pub(super) events_max: usize,
    pub(super) gather: Duration,
    pub(super) lease: Duration,
    pub(super) on_poison: OnPoison,
    pub(super) on_new_version: OnNewVersion,
    pub(super) rebuild_pace: Option<u32>,
    pub(super) share: u32,
    pub(super) owner: Arc<str>,
}

/// What to do with an event that a projection cannot apply: because its code refuses it or panics,
/// or because no [upcaster](crate::Upcasters) can bring it to its newest shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPoison {
    /// The part that met it stops there, and says so in its status, until it is resumed. The
    /// other parts, and all other projections, go on.
    #[default]
    Stop,
    /// It is put aside, where [`parked`](annals_core::CheckpointStore::parked) lists it, and the
    /// projection goes on without it: its rows lack what the event would have made of them.
    Park,
}

impl Annals {
    /// Runs a projection behind a checkpoint: every event that it wants to see is applied, in
    /// order, exactly once where its rows share a database with the checkpoint.
    ///
    /// Any number of processes may run the same projection: each part of it is worked by one at
    /// a time, and another takes over when that one dies.
    ///
    /// ```no_run
    /// # use annals::{Annals, OnPoison, Projector};
    /// # async fn run(bank: Annals, balances: impl Projector + 'static) {
    /// let running = bank
    ///     .project(balances)
    ///     .partitions(4)
    ///     .on_poison(OnPoison::Park)
    ///     .rebuilding_new_versions()
    ///     .start();
    /// # }
    /// ```
    pub fn project(&self, projector: impl Projector + 'static) -> Projecting {
        let owner = format!("{}-{}", std::process::id(), RandomIds.next());
        let options = Options {
            partitions: 1,
            after: Position::START,
            events_max: 1_000,
            gather: Duration::ZERO,
            lease: Duration::from_secs(10),
            on_poison: OnPoison::default(),
            on_new_version: OnNewVersion::Refuse,
            rebuild_pace: None,
            share: u32::MAX,
            owner: owner.into(),
        };
        Projecting { annals: self.clone(), projector: Arc::new(projector), options }
    }
}

impl Projecting {
    /// In how many parts its work is divided, which are worked at the same time, here and in
    /// other processes; 1 unless said otherwise, and at most 1,024. A projection that is known already keeps the
    /// number that it has: a [rebuild](Rebuild::partitions) changes it.
    pub fn partitions(mut self, count: u32) -> Self {
        self.options.partitions = count.clamp(1, 1_024);
        self
    }

    /// After which position a projection begins that is not known yet; before the first event
    /// unless said otherwise.
    pub fn after(mut self, position: Position) -> Self {
        self.options.after = position;
        self
    }

    /// At most so many events are applied in one transaction; 1,000 unless said otherwise.
    pub fn events_max(mut self, events: usize) -> Self {
        self.options.events_max = events.max(1);
        self
    }

    /// Waits so long for further events before those at hand are applied: fewer transactions, and
    /// rows that are so much later. Unless said otherwise it does not wait; what comes while a
    /// transaction is made is applied with the next.
    pub fn gathering(mut self, bound: Duration) -> Self {
        self.options.gather = bound;
        self
    }

    /// How long a process keeps a part without a sign of life before another may take over; 10
    /// seconds unless said otherwise.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// What to do with an event that cannot be applied; it stops unless said otherwise.
    pub fn on_poison(mut self, on_poison: OnPoison) -> Self {
        self.options.on_poison = on_poison;
        self
    }

    /// If the rows were made by another version of the projection, begins a rebuild, beside them.
    /// Unless this is said such a projection does not run, and its status says why.
    ///
    /// Only what older versions made is replaced, or is being made by them: a process of yesterday's
    /// version that starts again does not run, and says so. A rebuild that was given up by hand is
    /// begun again by a process that starts later, and by none that runs already.
    pub fn rebuilding_new_versions(mut self) -> Self {
        self.options.on_new_version = OnNewVersion::Rebuild;
        self
    }

    /// A rebuild applies at most so many events per second in each part, so that others get their
    /// share of the machine; as many as it can unless said otherwise.
    pub fn rebuild_pace(mut self, events_per_second: u32) -> Self {
        self.options.rebuild_pace = Some(events_per_second.max(1));
        self
    }

    /// This process takes at most so many parts as long as others take the rest: parts that
    /// nobody has had for as long as a [lease](Self::lease) it takes all the same. All that are
    /// free unless said otherwise.
    pub fn share(mut self, parts: u32) -> Self {
        self.options.share = parts.max(1);
        self
    }

    /// Starts to run it, on the current tokio runtime, until the handle is
    /// [stopped](RunningProjection::stop) or dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "the projection stops when the handle is dropped"]
    pub fn start(self) -> RunningProjection {
        Supervisor::start(self)
    }
}

/// How a projection is rebuilt.
///
/// ```
/// use annals::Rebuild;
///
/// let in_parallel = Rebuild::new().partitions(2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rebuild {
    pub(super) partitions: Option<u32>,
    pub(super) after: Position,
}

impl Rebuild {
    /// From the first event, in as many parts as now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// In so many parts, at most 1,024, which it keeps from then on.
    #[must_use]
    pub fn partitions(mut self, count: u32) -> Self {
        self.partitions = Some(count.clamp(1, 1_024));
        self
    }

    /// Only from what came after this position: as if the log had begun there.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }
}
