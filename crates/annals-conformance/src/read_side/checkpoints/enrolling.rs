//! Who enrols is known, in the version and the parts that it began with.

use annals_core::error::ReadSideError;
use annals_core::{
    Enrol, Generation, GenerationInfo, Partition, PartitionInfo, Position, Role, SubscriberInfo,
    SubscriberState,
};

use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, claim, enrol, invalid, must, name, rebuild, to, unknown};
use crate::storm::together;

pub(in crate::read_side) async fn checkpoints_there_are_none_at_first(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let nobody = name("nobody");
    assert_eq!(must("a list", side.subscribers()).await, []);
    assert_eq!(must("a look", side.subscriber(&nobody)).await, None);
    assert_eq!(must("what is parked", side.parked(&nobody, 10)).await, []);
    unknown("a claim", side.claim(claim("nobody", "owner"))).await;
    unknown("a generation", side.begin_generation(enrol("nobody", 1))).await;
    unknown("a generation", side.activate(&nobody, Generation::FIRST, at(0))).await;
    unknown("a state", side.set_state(&nobody, SubscriberState::Paused)).await;
    must("discarding nothing", side.discard(&nobody, Generation::FIRST)).await;
    assert_eq!(must("a list", side.subscribers()).await, []);
}

pub(in crate::read_side) async fn checkpoints_begin_where_they_are_told(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let new = Enrol { partitions: 3, after: Position::new(7), now: at(5), ..enrol("a", 4) };
    let enrolled = must("to enrol", side.enrol(new)).await;
    let part = |index| PartitionInfo {
        partition: Partition { index, count: 3 },
        position: Position::new(7),
        events: 0,
        parked: 0,
        moved_at: at(5),
        owner: None,
        failure: None,
    };
    let expected = SubscriberInfo {
        subscriber: name("a"),
        state: SubscriberState::Running,
        generations: vec![GenerationInfo {
            generation: Generation::FIRST,
            version: 4,
            role: Role::Active,
            begun_at: at(5),
            partitions: (0..3).map(part).collect(),
        }],
    };
    assert_eq!(enrolled, expected);
    assert_eq!(side.status("a").await, expected);
}

pub(in crate::read_side) async fn checkpoints_stay_when_a_subscriber_enrols_again(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 3).await;
    let lease = side.claimed(claim("a", "owner")).await;
    must("to advance", side.advance(&to(&lease, 5))).await;
    must("to pause", side.set_state(&name("a"), SubscriberState::Paused)).await;
    let before = side.status("a").await;
    let again = Enrol { partitions: 5, after: Position::new(100), now: at(50), ..enrol("a", 1) };
    assert_eq!(must("to enrol again", side.enrol(again.clone())).await, before);
    let again = Enrol { on_new_version: rebuild("a", 1).on_new_version, ..again };
    assert_eq!(must("to enrol again", side.enrol(again)).await, before);
    assert_eq!(side.status("a").await, before);
    must("to go on with the lease", side.advance(&to(&lease, 6))).await;
}

pub(in crate::read_side) async fn checkpoints_of_another_version_are_refused(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    must("to enrol", side.enrol(enrol("a", 2))).await;
    let before = side.status("a").await;
    for asked in [1, 3] {
        match side.enrol(enrol("a", asked)).await {
            Err(ReadSideError::OtherVersion { subscriber, stored: 2, asked: named }) => {
                assert_eq!((subscriber, named), (name("a"), asked));
            }
            other => panic!("version {asked} must be refused: {other:?}"),
        }
    }
    assert_eq!(side.status("a").await, before);
}

pub(in crate::read_side) async fn checkpoints_of_another_version_are_built_beside(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let first = side.enrolled("a", 2).await.generations[0].clone();
    let new = Enrol { partitions: 3, after: Position::new(4), now: at(9), ..rebuild("a", 2) };
    let both = must("to enrol", side.enrol(new)).await;
    assert_eq!(both.active(), Some(&first));
    let building = both.building().expect("another version is being built").clone();
    assert_eq!(both.generations, [first.clone(), building.clone()]);
    assert!(building.generation > first.generation, "{both:?}");
    assert_eq!((building.version, building.begun_at), (2, at(9)));
    assert_eq!((building.partitions.len(), building.position()), (3, Position::new(4)));

    // Whoever has one of the two versions goes on with it.
    for of_either in [enrol("a", 1), enrol("a", 2), rebuild("a", 1), rebuild("a", 2)] {
        assert_eq!(must("to enrol", side.enrol(of_either)).await, both);
    }
    let refused = side.enrol(enrol("a", 3)).await;
    let named = matches!(refused, Err(ReadSideError::OtherVersion { stored: 1, asked: 3, .. }));
    assert!(named, "version 3 is neither the active one nor being built: {refused:?}");

    let on_second = side.claimed(of(building.generation)).await;
    let third = must("to enrol", side.enrol(rebuild("a", 3))).await;
    assert_eq!(third.active(), Some(&first));
    assert_eq!(third.generations.len(), 2, "the second is discarded: {third:?}");
    let newest = third.building().expect("the third is being built");
    assert!(newest.generation > building.generation && newest.version == 3, "{third:?}");
    side.has_lost(&on_second).await;
    unknown("the generation before", side.claim(of(building.generation))).await;
}

fn of(generation: Generation) -> annals_core::Claim {
    annals_core::Claim { generation, ..claim("a", "owner") }
}

pub(in crate::read_side) async fn checkpoints_are_made_once_by_many_who_enrol(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    for (round, version) in [1, 2].into_iter().enumerate() {
        let answers = together(32, |_| {
            let side = side.clone();
            async move { must("to enrol", side.enrol(rebuild("a", version))).await }
        })
        .await;
        let status = side.status("a").await;
        assert_eq!(status.generations.len(), round + 1, "{status:?}");
        assert!(answers.iter().all(|answer| *answer == status), "all must see {status:?}");
    }
}

pub(in crate::read_side) async fn checkpoints_are_listed_by_their_subscribers_names(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    // In the order of their bytes, which is nobody's alphabet.
    let in_order = ["A", "B1", "Z", "a", "a-b", "a.b", "a1", "aB", "a_b", "ab", "b"];
    for subscriber in ["b", "a_b", "A", "ab", "a", "Z", "a.b", "aB", "B1", "a1", "a-b"] {
        side.enrolled(subscriber, 2).await;
    }
    let listed = must("a list", side.subscribers()).await;
    let names: Vec<_> = listed.iter().map(|info| info.subscriber.as_str()).collect();
    assert_eq!(names, in_order);
    for info in listed {
        assert_eq!(info, side.status(info.subscriber.as_str()).await);
    }
}

pub(in crate::read_side) async fn checkpoints_of_no_parts_or_too_many_are_refused(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let most = side.enrolled("most", Partition::COUNT_MAX).await;
    let count = most.generations[0].partitions.len();
    assert_eq!(count, Partition::COUNT_MAX as usize);
    for partitions in [0, Partition::COUNT_MAX + 1, u32::MAX] {
        let wrong = Enrol { partitions, ..enrol("a", 1) };
        invalid("so many parts", side.enrol(wrong.clone())).await;
        let wrong = Enrol { subscriber: name("most"), ..wrong };
        invalid("so many parts", side.begin_generation(wrong)).await;
    }
    assert_eq!(must("a look", side.subscriber(&name("a"))).await, None);
    assert_eq!(side.status("most").await, most);
}
