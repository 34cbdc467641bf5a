//! Processes with several versions of a projection at the same time.

use std::time::Duration;

use annals::{
    Enrol, OnNewVersion, Position, Projection, Projections, ReadModel, RecordedEvent, RowKey,
    RunningProjection, SubscriberInfo, Timestamp,
};

use crate::projection::bank::{AccountEvent, Balance, Balances, fill};
use crate::projection::places::{Place, SOON, in_each_place};

in_each_place![
    an_older_version_does_not_give_up_what_a_newer_one_builds,
    a_version_whose_generation_an_older_one_gave_up_begins_again,
    a_version_whose_generation_was_given_up_by_hand_says_so,
    a_version_that_was_replaced_says_so,
];

/// The balances as some version of the code makes them.
struct Of<const VERSION: u32>;

impl<const VERSION: u32> Projection for Of<VERSION> {
    type Event = AccountEvent;
    type Row = Balance;
    const NAME: &'static str = Balances::NAME;
    const VERSION: u32 = VERSION;

    fn apply(
        &self,
        key: &RowKey,
        row: Option<Balance>,
        event: &AccountEvent,
        recorded: &RecordedEvent,
    ) -> Option<Balance> {
        Balances.apply(key, row, event, recorded)
    }
}

/// A process with this version; what it rebuilds takes a while.
fn process<const VERSION: u32>(place: &Place) -> RunningProjection {
    let model = ReadModel::new(Of::<VERSION>, place.rows.clone());
    let projecting = place.bank.project(model).rebuilding_new_versions();
    projecting.lease(Duration::from_millis(300)).events_max(5).rebuild_pace(100).start()
}

/// One whose rows are read.
async fn first(place: &Place) -> RunningProjection {
    let last = fill(&*place.store, 5, 100).await;
    let first = process::<1>(place);
    first.wait_for(last, SOON).await.unwrap();
    first
}

async fn an_older_version_does_not_give_up_what_a_newer_one_builds(place: Place) {
    let _first = first(&place).await;
    let third = process::<3>(&place);
    let begun = until(&third, |info, _| info.building().is_some()).await;

    let second = process::<2>(&place);
    until(&second, |_, trouble| trouble.is_some_and(|text| text.contains("version 3"))).await;
    let now = until(&third, |_, _| true).await;
    let generation = |info: &SubscriberInfo| {
        let building = info.building().or(info.active());
        building.map(|made| (made.generation, made.version))
    };
    assert_eq!(generation(&now), generation(&begun), "it goes on being built");
}

/// As when both have looked before either began.
async fn a_version_whose_generation_an_older_one_gave_up_begins_again(place: Place) {
    let _first = first(&place).await;
    let third = process::<3>(&place);
    let begun = until(&third, |info, _| info.building().is_some()).await;
    let second = Enrol {
        subscriber: third.name().clone(),
        version: 2,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Rebuild,
        now: Timestamp::EPOCH,
    };
    let enrolled = place.rows.enrol(second).await.unwrap();
    assert_eq!(enrolled.building().map(|made| made.version), Some(2), "after {begun:?}");

    until(&third, |info, _| info.active().is_some_and(|active| active.version == 3)).await;
    assert_eq!(third.status().await.unwrap().trouble, None);
}

async fn a_version_whose_generation_was_given_up_by_hand_says_so(place: Place) {
    let _first = first(&place).await;
    let second = process::<2>(&place);
    until(&second, |info, _| info.building().is_some()).await;
    let projections =
        Projections::over(place.bank.clone(), std::sync::Arc::new(place.rows.clone()));
    let given_up = projections.cancel_rebuild(second.name()).await.unwrap();
    assert!(given_up.is_some());

    let info = until(&second, |_, trouble| trouble.is_some()).await;
    assert_eq!(info.building(), None, "it is not begun again");
    let trouble = second.status().await.unwrap().trouble.unwrap();
    assert!(trouble.contains("version 1") && trouble.contains("rebuild"), "{trouble}");
}

async fn a_version_that_was_replaced_says_so(place: Place) {
    let first = first(&place).await;
    let _second = process::<2>(&place);
    until(&first, |_, trouble| trouble.is_some_and(|text| text.contains("version 2"))).await;
}

async fn until(
    process: &RunningProjection,
    holds: impl Fn(&SubscriberInfo, Option<&str>) -> bool,
) -> SubscriberInfo {
    let seen = async {
        loop {
            if let Ok(status) = process.status().await
                && holds(&status.info, status.trouble.as_deref())
            {
                return status.info;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(SOON, seen).await;
    match seen {
        Ok(info) => info,
        Err(_) => panic!("{:?}", process.status().await),
    }
}
