//! Breaches of what [`CheckpointStore`](annals_core::CheckpointStore) says.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use annals_core::error::ReadSideError;
use annals_core::{
    Activation, Advance, Claim, Enrol, Failure, Generation, GenerationInfo, Lease, OnNewVersion,
    Parked, Partition, PartitionInfo, Position, Renewed, SubscriberInfo, SubscriberName,
    SubscriberState, Timestamp,
};
use async_trait::async_trait;

use super::{Done, Side};
use crate::broken::Crossing;
use crate::read_side::ReadSideDecorator;

/// The part that a lease is for, as it stands.
async fn part_of(side: &Side, lease: &Lease) -> Done<Option<PartitionInfo>> {
    let Some(info) = side.subscriber(&lease.subscriber).await? else { return Ok(None) };
    let mut generations = info.generations.into_iter();
    let built = generations.find(|built| built.generation == lease.generation);
    Ok(built.and_then(|built| built.partitions.get(lease.partition.index as usize).cloned()))
}

/// Takes a part that does not exist for one that somebody has.
#[derive(Debug)]
pub struct ClaimsNothingOfTheUnknown;

#[async_trait]
impl ReadSideDecorator for ClaimsNothingOfTheUnknown {
    async fn claim(&self, side: &Side, claim: Claim) -> Done<Option<Lease>> {
        match side.claim(claim).await {
            Err(ReadSideError::Unknown(_)) => Ok(None),
            claimed => claimed,
        }
    }
}

/// Has everybody begin at the start.
#[derive(Debug)]
pub struct BeginsAtTheStart;

#[async_trait]
impl ReadSideDecorator for BeginsAtTheStart {
    async fn enrol(&self, side: &Side, enrol: Enrol) -> Done<SubscriberInfo> {
        side.enrol(Enrol { after: Position::START, ..enrol }).await
    }

    async fn begin_generation(&self, side: &Side, enrol: Enrol) -> Done<Generation> {
        side.begin_generation(Enrol { after: Position::START, ..enrol }).await
    }
}

/// Writes the state anew when somebody enrols.
#[derive(Debug)]
pub struct ResumesWhoeverEnrols;

#[async_trait]
impl ReadSideDecorator for ResumesWhoeverEnrols {
    async fn enrol(&self, side: &Side, enrol: Enrol) -> Done<SubscriberInfo> {
        let subscriber = enrol.subscriber.clone();
        let mut info = side.enrol(enrol).await?;
        side.set_state(&subscriber, SubscriberState::Running).await?;
        info.state = SubscriberState::Running;
        Ok(info)
    }
}

/// Lets old code go on with what new code has made.
#[derive(Debug)]
pub struct TakesAnyVersion;

#[async_trait]
impl ReadSideDecorator for TakesAnyVersion {
    async fn enrol(&self, side: &Side, mut enrol: Enrol) -> Done<SubscriberInfo> {
        if let Some(info) = side.subscriber(&enrol.subscriber).await? {
            enrol.version = info.generations[0].version;
        }
        side.enrol(enrol).await
    }
}

/// Looks whether a generation is being built, and begins one when that may be true no more.
#[derive(Debug, Default)]
pub struct LooksThenBegins(Crossing);

#[async_trait]
impl ReadSideDecorator for LooksThenBegins {
    async fn enrol(&self, side: &Side, enrol: Enrol) -> Done<SubscriberInfo> {
        let known = side.subscriber(&enrol.subscriber).await?;
        let known = known.is_some_and(|info| {
            info.generations.iter().all(|built| built.version != enrol.version)
        });
        if known && enrol.on_new_version == OnNewVersion::Rebuild {
            self.0.meet().await;
            side.begin_generation(enrol.clone()).await?;
        }
        side.enrol(enrol).await
    }
}

/// Has a collation that knows no capital letters.
#[derive(Debug)]
pub struct ListsSubscribersByAlphabet;

#[async_trait]
impl ReadSideDecorator for ListsSubscribersByAlphabet {
    async fn subscribers(&self, side: &Side) -> Done<Vec<SubscriberInfo>> {
        let mut infos = side.subscribers().await?;
        infos.sort_by_key(|info| info.subscriber.as_str().to_lowercase());
        Ok(infos)
    }
}

/// Makes what it can of a number of parts.
#[derive(Debug)]
pub struct TakesAnyNumberOfParts;

#[async_trait]
impl ReadSideDecorator for TakesAnyNumberOfParts {
    async fn enrol(&self, side: &Side, enrol: Enrol) -> Done<SubscriberInfo> {
        let partitions = enrol.partitions.clamp(1, Partition::COUNT_MAX);
        side.enrol(Enrol { partitions, ..enrol }).await
    }
}

/// Has nothing against making something active that is not there.
#[derive(Debug)]
pub struct ActivatesWhatIsGone;

#[async_trait]
impl ReadSideDecorator for ActivatesWhatIsGone {
    async fn activate(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Done<Activation> {
        match side.activate(subscriber, generation, now).await {
            Err(ReadSideError::Unknown(_)) => Ok(Activation::Done),
            activated => activated,
        }
    }
}

/// Brings a generation to where the active one is furthest, without its events, and activates it.
async fn activate_whatever(
    side: &Side,
    subscriber: &SubscriberName,
    generation: Generation,
    now: Timestamp,
) -> Done<Activation> {
    let Some(info) = side.subscriber(subscriber).await? else {
        return side.activate(subscriber, generation, now).await;
    };
    let furthest = info.active().and_then(furthest);
    for part in info.building().iter().flat_map(|building| &building.partitions) {
        let claim = Claim {
            subscriber: subscriber.clone(),
            generation,
            partition: part.partition.index,
            owner: "whoever it takes".into(),
            now: Timestamp::MAX,
            until: Timestamp::MAX,
        };
        let Some(lease) = side.claim(claim).await? else { continue };
        let to = furthest.unwrap_or_default().max(part.position);
        side.advance(&Advance { lease, to, events: 0, parked: Vec::new(), now }).await?;
    }
    side.activate(subscriber, generation, now).await
}

fn furthest(generation: &GenerationInfo) -> Option<Position> {
    generation.partitions.iter().map(|part| part.position).max()
}

/// Activates whatever it is told to.
#[derive(Debug)]
pub struct ActivatesWhatIsBehind;

#[async_trait]
impl ReadSideDecorator for ActivatesWhatIsBehind {
    async fn activate(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Done<Activation> {
        activate_whatever(side, subscriber, generation, now).await
    }
}

/// Compares how far all parts have come, so that the others of the active generation go back.
#[derive(Debug)]
pub struct ComparesTheLastParts;

#[async_trait]
impl ReadSideDecorator for ComparesTheLastParts {
    async fn activate(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Done<Activation> {
        let info = side.subscriber(subscriber).await?;
        let both = info.as_ref().and_then(|info| info.active().zip(info.building()));
        match both {
            Some((active, building)) if building.position() < active.position() => {
                Ok(Activation::Behind)
            }
            _ => activate_whatever(side, subscriber, generation, now).await,
        }
    }
}

/// Compares parts with those of the same number, whatever belongs to them.
#[derive(Debug)]
pub struct ComparesPartsByNumber;

#[async_trait]
impl ReadSideDecorator for ComparesPartsByNumber {
    async fn activate(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Done<Activation> {
        let info = side.subscriber(subscriber).await?;
        let is_behind = info.and_then(|info| {
            let (active, building) = info.active().zip(info.building())?;
            let mut both = building.partitions.iter().zip(&active.partitions);
            Some(both.any(|(new, old)| new.position < old.position))
        });
        match is_behind {
            Some(true) => Ok(Activation::Behind),
            _ => activate_whatever(side, subscriber, generation, now).await,
        }
    }
}

/// Has the last part come as far as the first one in any case: a part that stopped would never be
/// replaced.
#[derive(Debug)]
pub struct WaitsForTheLastPart;

#[async_trait]
impl ReadSideDecorator for WaitsForTheLastPart {
    async fn activate(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Done<Activation> {
        let info = side.subscriber(subscriber).await?;
        let is_behind = info.and_then(|info| {
            let (active, building) = info.active().zip(info.building())?;
            Some(Some(building.position()) < furthest(active))
        });
        match is_behind {
            Some(true) => Ok(Activation::Behind),
            _ => side.activate(subscriber, generation, now).await,
        }
    }
}

/// Looks how far both have come, and lets the active one move before the other takes its place.
#[derive(Debug, Default)]
pub struct SwapsWhileOthersMove(Mutex<HashSet<Generation>>);

#[async_trait]
impl ReadSideDecorator for SwapsWhileOthersMove {
    async fn advance(&self, side: &Side, advance: &Advance) -> Done<()> {
        let outcome = side.advance(advance).await;
        let generation = advance.lease.generation;
        let is_first = || self.0.lock().expect("no code panics while looking").insert(generation);
        match outcome {
            Err(ReadSideError::Fenced(_)) if is_first() => Ok(()),
            outcome => outcome,
        }
    }
}

/// Leaves what was being built as it is.
#[derive(Debug)]
pub struct DiscardsNothing;

#[async_trait]
impl ReadSideDecorator for DiscardsNothing {
    async fn discard(&self, _: &Side, _: &SubscriberName, _: Generation) -> Done<()> {
        Ok(())
    }
}

/// Counts generations from the highest that there is.
#[derive(Debug)]
pub struct NumbersGenerationsAgain;

#[async_trait]
impl ReadSideDecorator for NumbersGenerationsAgain {
    async fn begin_generation(&self, side: &Side, enrol: Enrol) -> Done<Generation> {
        let info = side.subscriber(&enrol.subscriber).await?;
        let active = info.as_ref().and_then(|info| info.active().map(|built| built.generation));
        let begun = side.begin_generation(enrol).await?;
        Ok(active.map_or(begun, Generation::next))
    }
}

/// Gives a part to whoever asks.
#[derive(Debug)]
pub struct ClaimsForAnybody;

#[async_trait]
impl ReadSideDecorator for ClaimsForAnybody {
    async fn claim(&self, side: &Side, claim: Claim) -> Done<Option<Lease>> {
        side.claim(Claim { now: Timestamp::MAX, ..claim }).await
    }
}

/// Gives an owner the lease that it had before.
#[derive(Debug, Default)]
pub struct KeepsTheFence {
    given: Mutex<HashMap<(String, SubscriberName), Lease>>,
}

#[async_trait]
impl ReadSideDecorator for KeepsTheFence {
    async fn claim(&self, side: &Side, claim: Claim) -> Done<Option<Lease>> {
        let key = (claim.owner.to_string(), claim.subscriber.clone());
        let given = self.given.lock().expect("no code panics while looking").get(&key).cloned();
        if let Some(lease) = given
            && side.renew(&lease, claim.until).await.is_ok()
        {
            return Ok(Some(lease));
        }
        let claimed = side.claim(claim).await?;
        if let Some(lease) = &claimed {
            let mut given = self.given.lock().expect("no code panics while looking");
            given.insert(key, lease.clone());
        }
        Ok(claimed)
    }
}

/// Lets a lease run out when it did at first.
#[derive(Debug)]
pub struct RenewsForNoTime;

#[async_trait]
impl ReadSideDecorator for RenewsForNoTime {
    async fn renew(&self, side: &Side, lease: &Lease, until: Timestamp) -> Done<Renewed> {
        let owner = part_of(side, lease).await?.and_then(|part| part.owner);
        side.renew(lease, owner.map_or(until, |(_, until)| until)).await
    }
}

/// Lets leases run out instead of giving them back.
#[derive(Debug)]
pub struct ReleasesNothing;

#[async_trait]
impl ReadSideDecorator for ReleasesNothing {
    async fn release(&self, _: &Side, _: &Lease) -> Done<()> {
        Ok(())
    }
}

/// Has one owner for all parts.
#[derive(Debug)]
pub struct ClaimsTheFirstPart;

#[async_trait]
impl ReadSideDecorator for ClaimsTheFirstPart {
    async fn claim(&self, side: &Side, claim: Claim) -> Done<Option<Lease>> {
        side.claim(Claim { partition: 0, ..claim }).await
    }
}

/// Counts how often a checkpoint moved instead of how many events it passed.
#[derive(Debug)]
pub struct CountsAdvances;

#[async_trait]
impl ReadSideDecorator for CountsAdvances {
    async fn advance(&self, side: &Side, advance: &Advance) -> Done<()> {
        side.advance(&Advance { events: 1, ..advance.clone() }).await
    }
}

/// Has a failure stand though the part has moved.
#[derive(Debug)]
pub struct FailsForEver;

#[async_trait]
impl ReadSideDecorator for FailsForEver {
    async fn advance(&self, side: &Side, advance: &Advance) -> Done<()> {
        let failure = part_of(side, &advance.lease).await?.and_then(|part| part.failure);
        side.advance(advance).await?;
        match failure {
            Some(failure) => side.fail(&advance.lease, failure).await,
            None => Ok(()),
        }
    }
}

/// Resumes only whoever waits.
#[derive(Debug)]
pub struct ResumesThePaused;

#[async_trait]
impl ReadSideDecorator for ResumesThePaused {
    async fn set_state(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> Done<()> {
        let info = side.subscriber(subscriber).await?;
        if info.is_some_and(|info| info.state == state) {
            return Ok(());
        }
        side.set_state(subscriber, state).await
    }
}

/// Has failures end the lease.
#[derive(Debug)]
pub struct FailsAndReleases;

#[async_trait]
impl ReadSideDecorator for FailsAndReleases {
    async fn fail(&self, side: &Side, lease: &Lease, failure: Failure) -> Done<()> {
        side.fail(lease, failure).await?;
        side.release(lease).await
    }
}

/// Lists what is parked in the order in which it came.
#[derive(Debug)]
pub struct ParksInAnyOrder;

#[async_trait]
impl ReadSideDecorator for ParksInAnyOrder {
    async fn parked(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> Done<Vec<Parked>> {
        let mut parked = side.parked(subscriber, usize::MAX).await?;
        parked.reverse();
        parked.truncate(limit);
        Ok(parked)
    }
}
