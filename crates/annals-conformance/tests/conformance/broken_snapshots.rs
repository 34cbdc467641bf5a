//! The suite of snapshots fails where it must: each broken store is caught by the cases that are
//! there for it, and each case has caught at least one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_conformance::broken::*;
use annals_conformance::snapshots::{CASES, DURABLE_CASES, DurableSnapshots, SnapshotBackend};
use annals_conformance::{DecoratedSnapshots, Failure, SnapshotDecorator};
use annals_core::{Limits, MemorySnapshots, SnapshotStore};
use async_trait::async_trait;

/// Breaks a sound store.
type Breaking = fn(MemorySnapshots) -> Arc<dyn SnapshotStore>;

/// A backend whose stores are all broken in the same way.
struct Broken {
    breaking: Breaking,
    places: Mutex<HashMap<String, MemorySnapshots>>,
}

#[async_trait]
impl SnapshotBackend for Broken {
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore> {
        (self.breaking)(MemorySnapshots::with(limits))
    }
}

#[async_trait]
impl DurableSnapshots for Broken {
    async fn open_at(&self, place: &str) -> Arc<dyn SnapshotStore> {
        let store = {
            let mut places = self.places.lock().expect("no test panics while opening");
            places.entry(place.to_owned()).or_default().clone()
        };
        (self.breaking)(store)
    }
}

fn over(store: MemorySnapshots, decorator: impl SnapshotDecorator) -> Arc<dyn SnapshotStore> {
    Arc::new(DecoratedSnapshots::over(store, decorator))
}

async fn run(breaking: Breaking, name: &str) -> Result<(), Failure> {
    // One of them makes callers wait in vain.
    let patience = Duration::from_secs(2);
    let broken = Arc::new(Broken { breaking, places: Mutex::default() });
    if let Some(case) = CASES.iter().find(|case| case.name == name) {
        return case.check_within(patience, broken as Arc<dyn SnapshotBackend>).await;
    }
    let case = DURABLE_CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    case.check_within(patience, broken as Arc<dyn DurableSnapshots>).await
}

macro_rules! caught {
    ($($name:ident: $broken:expr => [$($case:ident)*];)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                for name in [$(stringify!($case)),*] {
                    let caught = run(|store| over(store, $broken), name).await;
                    assert!(caught.is_err(), "{name} does not catch it");
                }
            }
        )*

        /// A case that cannot fail is a defect of the suite.
        #[test]
        fn every_case_has_caught_something() {
            let caught: BTreeSet<_> = [$($(stringify!($case)),*),*].into();
            let durable = DURABLE_CASES.iter().map(|case| case.name);
            let all: BTreeSet<_> = CASES.iter().map(|case| case.name).chain(durable).collect();
            assert_eq!(all.difference(&caught).collect::<Vec<_>>(), Vec::<&&str>::new());
        }
    };
}

caught! {
    keeps_the_last: KeepsTheLast => [
        snapshots_any_history_agrees_with_a_model
        snapshots_the_newest_wins_after_opening_again
        snapshots_the_newest_wins_in_any_order
    ];
    keeps_the_first: KeepsTheFirst => [
        snapshots_any_history_agrees_with_a_model
        snapshots_one_of_the_same_version_takes_its_place
    ];
    looks_then_saves: LooksThenSaves::default() => [
        snapshots_the_newest_wins_among_32_tasks
    ];
    loads_any_fold: LoadsAnyFold => [
        snapshots_any_history_agrees_with_a_model
        snapshots_of_other_streams_and_folds_stay_apart
    ];
    cuts_states: CutsStates => [
        snapshots_are_found_after_opening_again
        snapshots_come_back_as_they_were_saved
    ];
    tears_snapshots: TearsSnapshots::default() => [
        snapshots_are_never_torn
    ];
    refuses_nothing: RefusesNothing => [
        snapshots_larger_than_the_limit_are_refused
    ];
    lists_one_page: ListsOnePage => [
        snapshots_by_the_thousand_are_listed
    ];
    lists_by_alphabet: ListsByAlphabet => [
        snapshots_any_history_agrees_with_a_model
        snapshots_are_listed_by_stream_and_fold
    ];
    trips_over_drops: TripsOverDrops => [
        snapshots_may_be_dropped_while_they_are_listed
    ];
    locks_while_listing: LocksWhileListing::default() => [
        snapshots_listing_may_stop_half_way
    ];
    selects_by_prefix: SelectsByPrefix => [
        snapshots_any_history_agrees_with_a_model
        snapshots_are_selected_by_each_criterion
    ];
    selects_by_one_criterion: SelectsByOneCriterion => [
        snapshots_any_history_agrees_with_a_model
        snapshots_are_selected_by_several_criteria
    ];
    drops_of_any_age: DropsOfAnyAge => [
        snapshots_any_history_agrees_with_a_model
        snapshots_are_dropped_as_selected
    ];
    counts_drops_from_one: CountsDropsFromOne => [
        snapshots_any_history_agrees_with_a_model
        snapshots_are_dropped_as_selected
        snapshots_there_are_none_at_first
    ];
    remembers_versions: RemembersVersions::default() => [
        snapshots_any_history_agrees_with_a_model
        snapshots_dropped_ones_are_saved_anew
    ];
    finds_its_own: FindsItsOwn::default() => [
        snapshots_are_found_after_opening_again
    ];
    hides_drops: HidesDrops::default() => [
        snapshots_dropped_ones_stay_away_after_opening_again
    ];
}
