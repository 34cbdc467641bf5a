//! As much of a runner as a test needs.

use annals_core::{
    Advance, Claim, Enrol, EventStore, EventStoreExt, Generation, OnNewVersion, Position,
    ProjectError, Projector, Read, Stretch, Timestamp,
};

pub(crate) const NOW: Timestamp = Timestamp::EPOCH;

/// Enrols a projection; the generation that is to be worked.
pub(crate) async fn enrol(projector: &dyn Projector, on_new_version: OnNewVersion) -> Generation {
    let enrol = Enrol {
        subscriber: projector.name().clone(),
        version: projector.version(),
        partitions: 1,
        after: Position::START,
        on_new_version,
        now: NOW,
    };
    let info = projector.checkpoints().enrol(enrol).await.expect("a projection enrols");
    let made = info.generations.iter().find(|made| made.version == projector.version());
    let generation = made.expect("it has a generation").generation;
    projector.prepare(generation).await.expect("its tables are made");
    generation
}

/// Applies the next events, at most so many; where the checkpoint is then.
pub(crate) async fn step(
    projector: &dyn Projector,
    generation: Generation,
    store: &dyn EventStore,
    limit: u64,
) -> Result<Position, ProjectError> {
    let claim = Claim {
        subscriber: projector.name().clone(),
        generation,
        partition: 0,
        owner: "the test".into(),
        now: NOW,
        until: Timestamp::MAX,
    };
    let lease = projector.checkpoints().claim(claim).await?.expect("nobody else has it");
    let read = Read::query(projector.query()).after(lease.position).limit(limit);
    let events = store.read_to_end(read).await.expect("the log is read");
    let Some(to) = events.last().map(|event| event.position) else { return Ok(lease.position) };
    let count = events.len() as u64;
    let advance = Advance { lease, to, events: count, parked: Vec::new(), now: NOW };
    projector.project(&Stretch { events, advance }).await?;
    Ok(to)
}
