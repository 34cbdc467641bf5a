//! Checkpoints in memory.

use async_trait::async_trait;

use super::inline::REBUILDING_INLINE;
use super::{Built, Kept, MemoryReadSide, Part, Subscriber};
use crate::error::ReadSideError;
use crate::read_side::{
    Activation, Advance, CheckpointStore, Claim, Deleted, Enrol, Failure, Generation,
    GenerationInfo, Lease, OnNewVersion, Parked, Partition, PartitionInfo, Renewed, Role,
    SubscriberInfo, SubscriberState,
};
use crate::{SubscriberName, Timestamp};

#[async_trait]
impl CheckpointStore for MemoryReadSide {
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo, ReadSideError> {
        enrol.check()?;
        let mut kept = self.kept();
        kept.enrol(&enrol)?;
        let subscriber = kept.known(&enrol.subscriber)?;
        Ok(subscriber.info(&enrol.subscriber))
    }

    async fn begin_generation(&self, enrol: Enrol) -> Result<Generation, ReadSideError> {
        enrol.check()?;
        let mut kept = self.kept();
        let subscriber = kept.known(&enrol.subscriber)?;
        if subscriber.active().runs_inline() {
            return Err(ReadSideError::Unsupported(REBUILDING_INLINE));
        }
        Ok(subscriber.begin(Role::Building, &enrol))
    }

    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        _now: Timestamp,
    ) -> Result<Activation, ReadSideError> {
        self.kept().activate(subscriber, generation)
    }

    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> Result<(), ReadSideError> {
        if let Some(subscriber) = self.kept().subscribers.get_mut(subscriber) {
            let goes =
                |built: &Built| built.generation == generation && built.role == Role::Building;
            subscriber.generations.retain(|built| !goes(built));
        }
        Ok(())
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Lease>, ReadSideError> {
        let mut kept = self.kept();
        let fence = kept.fence + 1;
        let unknown = || ReadSideError::Unknown(claim.subscriber.clone());
        let built = kept.known(&claim.subscriber)?.generation(claim.generation);
        let part = built.and_then(|built| built.parts.get_mut(claim.partition as usize));
        let part = part.ok_or_else(unknown)?;
        if let Some((owner, until)) = &part.owner
            && *owner != claim.owner
            && *until > claim.now
        {
            return Ok(None);
        }
        part.fence = fence;
        part.owner = Some((claim.owner, claim.until));
        let lease = Lease {
            subscriber: claim.subscriber,
            generation: claim.generation,
            partition: part.partition,
            fence: part.fence,
            position: part.position,
            failure: part.failure.clone(),
        };
        kept.fence = fence;
        Ok(Some(lease))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed, ReadSideError> {
        let mut kept = self.kept();
        let part = kept.leased(lease)?;
        if let Some(owner) = &mut part.owner {
            owner.1 = until;
        }
        let failed = part.failure.is_some();
        let role = kept.leased_in(lease)?.0.role;
        let state = kept.known(&lease.subscriber)?.state;
        Ok(Renewed { state, role, failed })
    }

    async fn release(&self, lease: &Lease) -> Result<(), ReadSideError> {
        if let Ok(part) = self.kept().leased(lease) {
            part.owner = None;
        }
        Ok(())
    }

    async fn advance(&self, advance: &Advance) -> Result<(), ReadSideError> {
        self.kept().advance(advance)
    }

    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<(), ReadSideError> {
        self.kept().leased(lease)?.failure = Some(failure);
        Ok(())
    }

    async fn set_state(
        &self,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> Result<(), ReadSideError> {
        let mut kept = self.kept();
        let subscriber = kept.known(subscriber)?;
        subscriber.state = state;
        if state == SubscriberState::Running {
            let parts = subscriber.generations.iter_mut().flat_map(|built| &mut built.parts);
            parts.for_each(|part| part.failure = None);
        }
        Ok(())
    }

    async fn delete(
        &self,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Result<Deleted, ReadSideError> {
        self.kept().delete(subscriber, now)
    }

    async fn subscribers(&self) -> Result<Vec<SubscriberInfo>, ReadSideError> {
        let kept = self.kept();
        Ok(kept.subscribers.iter().map(|(name, subscriber)| subscriber.info(name)).collect())
    }

    async fn subscriber(
        &self,
        subscriber: &SubscriberName,
    ) -> Result<Option<SubscriberInfo>, ReadSideError> {
        Ok(self.kept().subscribers.get(subscriber).map(|found| found.info(subscriber)))
    }

    async fn parked(
        &self,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> Result<Vec<Parked>, ReadSideError> {
        let kept = self.kept();
        let generations = kept.subscribers.get(subscriber).map(|found| &found.generations[..]);
        let parked = generations.unwrap_or_default().iter().flat_map(|built| &built.parked);
        let mut parked: Vec<_> = parked.cloned().collect();
        parked.sort_by_key(|parked| parked.position);
        parked.truncate(limit);
        Ok(parked)
    }
}

impl Kept {
    pub(super) fn known(
        &mut self,
        subscriber: &SubscriberName,
    ) -> Result<&mut Subscriber, ReadSideError> {
        let found = self.subscribers.get_mut(subscriber);
        found.ok_or_else(|| ReadSideError::Unknown(subscriber.clone()))
    }

    pub(super) fn enrol(&mut self, enrol: &Enrol) -> Result<(), ReadSideError> {
        let Some(subscriber) = self.subscribers.get_mut(&enrol.subscriber) else {
            let mut subscriber = Subscriber {
                state: SubscriberState::Running,
                generations: Vec::new(),
                last: Generation::new(0),
            };
            subscriber.begin(Role::Active, enrol);
            self.subscribers.insert(enrol.subscriber.clone(), subscriber);
            return Ok(());
        };
        if subscriber.generations.iter().any(|built| built.version == enrol.version) {
            return Ok(());
        }
        match enrol.on_new_version {
            OnNewVersion::Refuse => Err(ReadSideError::OtherVersion {
                subscriber: enrol.subscriber.clone(),
                stored: subscriber.active().version,
                asked: enrol.version,
            }),
            OnNewVersion::Rebuild => {
                subscriber.begin(Role::Building, enrol);
                Ok(())
            }
        }
    }

    fn activate(
        &mut self,
        name: &SubscriberName,
        generation: Generation,
    ) -> Result<Activation, ReadSideError> {
        let subscriber = self.known(name)?;
        let active = subscriber.active().info();
        let Some(built) = subscriber.generation(generation) else {
            return Err(ReadSideError::Unknown(name.clone()));
        };
        if built.role == Role::Building && !built.info().is_as_far_as(&active) {
            return Ok(Activation::Behind);
        }
        subscriber.put_in_place(generation);
        Ok(Activation::Done)
    }
}

impl Subscriber {
    pub(super) fn active(&self) -> &Built {
        let active = self.generations.iter().find(|built| built.role == Role::Active);
        active.expect("a subscriber begins with an active generation, and each gives way to one")
    }

    /// Makes a generation the active one, in the place of the one that was.
    pub(super) fn put_in_place(&mut self, generation: Generation) {
        if self.active().generation != generation {
            self.generations.retain(|built| built.generation == generation);
            self.generations.iter_mut().for_each(|built| built.role = Role::Active);
        }
    }

    /// Begins a generation, in the place of one with the same role.
    fn begin(&mut self, role: Role, enrol: &Enrol) -> Generation {
        self.generations.retain(|built| built.role != role);
        self.last = self.last.next();
        let parts = (0..enrol.partitions).map(|index| Part {
            partition: Partition { index, count: enrol.partitions },
            position: enrol.after,
            events: 0,
            parked: 0,
            moved_at: enrol.now,
            fence: 0,
            owner: None,
            failure: None,
        });
        self.generations.push(Built {
            generation: self.last,
            version: enrol.version,
            role,
            begun_at: enrol.now,
            parts: parts.collect(),
            parked: Vec::new(),
        });
        self.last
    }

    fn info(&self, name: &SubscriberName) -> SubscriberInfo {
        SubscriberInfo {
            subscriber: name.clone(),
            state: self.state,
            generations: self.generations.iter().map(Built::info).collect(),
        }
    }
}

impl Built {
    fn info(&self) -> GenerationInfo {
        GenerationInfo {
            generation: self.generation,
            version: self.version,
            role: self.role,
            begun_at: self.begun_at,
            partitions: self.parts.iter().map(Part::info).collect(),
        }
    }
}

impl Part {
    fn info(&self) -> PartitionInfo {
        PartitionInfo {
            partition: self.partition,
            position: self.position,
            events: self.events,
            parked: self.parked,
            moved_at: self.moved_at,
            owner: self.owner.as_ref().map(|(owner, until)| (owner.to_string(), *until)),
            failure: self.failure.clone(),
        }
    }
}
