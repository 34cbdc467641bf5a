//! The suite that every [`SnapshotStore`] passes.
//!
//! It is enrolled like the [suite of events](crate), with one line, and makes a `#[test]` of each
//! case (`snapshots_…`):
//!
//! ```
//! use annals_core::{Limits, MemorySnapshots};
//!
//! # // Inside a doc test the generated tests are compiled but not run.
//! annals_conformance::snapshot_suite!(|limits: Limits| async { MemorySnapshots::with(limits) });
//! # fn main() {}
//! ```
//!
//! A store whose snapshots outlive it implements [`DurableSnapshots`] and says so:
//! `snapshot_suite!(…, durable)`.
//!
//! The cases can also be run by name, from [`CASES`] and [`DURABLE_CASES`]. This crate's tests
//! prove that every case fails against one of the stores in
//! [`broken`](crate::broken).

mod durable;
mod listing;
mod model;
mod probe;
mod saving;
mod selecting;

use std::future::Future;
use std::sync::Arc;

use annals_core::{Limits, SnapshotStore};
use async_trait::async_trait;

use crate::case::{Case, Guarantee, run};

/// A kind of store that keeps snapshots.
///
/// Each case has a backend value of its own, which lives until the case is over. An async
/// closure from limits to a store is a backend already.
#[async_trait]
pub trait SnapshotBackend: Send + Sync {
    /// A new store with these limits, without snapshots, that shares them with no other store.
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore>;
}

#[async_trait]
impl<F, S, Opening> SnapshotBackend for F
where
    F: Fn(Limits) -> Opening + Send + Sync,
    Opening: Future<Output = S> + Send,
    S: SnapshotStore + 'static,
{
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore> {
        Arc::new(self(limits).await)
    }
}

/// A backend whose snapshots outlive the stores that saved them.
#[async_trait]
pub trait DurableSnapshots: SnapshotBackend {
    /// A store over the snapshots at `place`, where there are none the first time.
    ///
    /// Before it opens a place again the suite drops everything it had opened there. Where a
    /// store closes in the background, wait for that here.
    async fn open_at(&self, place: &str) -> Arc<dyn SnapshotStore>;
}

/// Enrols a store of snapshots: makes a `#[test]` of every case.
///
/// Takes an expression for a [`SnapshotBackend`](crate::snapshots::SnapshotBackend), evaluated
/// anew for each test, and behind it `durable` where it is
/// [`DurableSnapshots`](crate::snapshots::DurableSnapshots) too.
#[macro_export]
macro_rules! snapshot_suite {
    ($backend:expr $(, $capability:ident)* $(,)?) => {
        $crate::__each_snapshot_case! { __snapshot_tests plain $backend }
        $($crate::__each_snapshot_case! { __snapshot_tests $capability $backend })*
    };
}

/// The list of all cases: the one place where a case is entered.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_snapshot_case {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            plain {
                saving {
                    snapshots_there_are_none_at_first
                    snapshots_come_back_as_they_were_saved
                    snapshots_of_other_streams_and_folds_stay_apart
                    snapshots_the_newest_wins_in_any_order
                    snapshots_one_of_the_same_version_takes_its_place
                    snapshots_the_newest_wins_among_32_tasks
                    snapshots_are_never_torn
                    snapshots_larger_than_the_limit_are_refused
                }
                listing {
                    snapshots_are_listed_by_stream_and_fold
                    snapshots_by_the_thousand_are_listed
                    snapshots_may_be_dropped_while_they_are_listed
                    snapshots_listing_may_stop_half_way
                }
                selecting {
                    snapshots_are_selected_by_each_criterion
                    snapshots_are_selected_by_several_criteria
                    snapshots_are_dropped_as_selected
                    snapshots_dropped_ones_are_saved_anew
                }
                model {
                    snapshots_any_history_agrees_with_a_model
                }
            }
            durable {
                durable {
                    snapshots_are_found_after_opening_again
                    snapshots_the_newest_wins_after_opening_again
                    snapshots_dropped_ones_stay_away_after_opening_again
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __snapshot_tests {
    (
        [plain $backend:expr]
        plain { $($file:ident { $($case:ident)* })* }
        durable $durable:tt
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::snapshots::run_plain(stringify!($case), $backend);
            }
        )*)*
    };
    (
        [durable $backend:expr]
        plain $plain:tt
        durable { $($file:ident { $($case:ident)* })* }
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::snapshots::run_durable(stringify!($case), $backend);
            }
        )*)*
    };
    ([$capability:ident $backend:expr] $($rest:tt)*) => {
        compile_error!(concat!(
            "no capability is called `",
            stringify!($capability),
            "`; there is `durable`"
        ));
    };
}

macro_rules! snapshot_registry {
    (
        []
        plain { $($file:ident { $($case:ident)* })* }
        durable { $($d_file:ident { $($d_case:ident)* })* }
    ) => {
        /// The cases that every store of snapshots passes.
        pub static CASES: &[Case<dyn SnapshotBackend>] = &[$($(Case {
            name: stringify!($case),
            guarantee: Guarantee::Snapshots,
            run: |backend| Box::pin($file::$case(backend)),
        },)*)*];

        /// The cases that stores whose snapshots outlive them pass besides.
        pub static DURABLE_CASES: &[Case<dyn DurableSnapshots>] = &[$($(Case {
            name: stringify!($d_case),
            guarantee: Guarantee::Snapshots,
            run: |backend| Box::pin($d_file::$d_case(backend)),
        },)*)*];
    };
}
pub(crate) use snapshot_registry;

__each_snapshot_case! { snapshot_registry }

#[doc(hidden)]
pub fn run_plain(name: &str, backend: impl SnapshotBackend + 'static) {
    run::<dyn SnapshotBackend>(CASES, name, Arc::new(backend));
}

#[doc(hidden)]
pub fn run_durable(name: &str, backend: impl DurableSnapshots + 'static) {
    run::<dyn DurableSnapshots>(DURABLE_CASES, name, Arc::new(backend));
}
