//! The suite that every read side passes: [`CheckpointStore`](annals_core::CheckpointStore), [`RowStore`] and
//! [`DeliveryQueue`] over one database.
//!
//! It is enrolled like the [suite of events](crate), with one line, and makes a `#[test]` of each
//! case (`checkpoints_…`, `rows_…`, `deliveries_…`):
//!
//! ```
//! use annals_core::{Limits, MemoryReadSide};
//!
//! # // Inside a doc test the generated tests are compiled but not run.
//! annals_conformance::read_side_suite!(|limits: Limits| async { MemoryReadSide::with(limits) });
//! # fn main() {}
//! ```
//!
//! A read side that outlives the value that wrote it implements [`DurableReadSide`] and says so:
//! `read_side_suite!(…, durable)`.
//!
//! The cases can also be run by name, from [`CASES`] and [`DURABLE_CASES`]. This crate's tests
//! prove that every case fails against one of the read sides in
//! [`broken::read_side`](crate::broken::read_side).

mod checkpoints;
mod decorator;
mod deliveries;
mod faults;
mod probe;
mod rows;

use std::future::Future;
use std::sync::Arc;

use annals_core::{DeliveryQueue, Limits, RowStore};
use async_trait::async_trait;

use crate::case::{Case, Guarantee, run};

pub use decorator::{DecoratedReadSide, ReadSideDecorator};
pub use faults::{Faults, Meet};

/// A database that keeps the whole read side.
pub trait ReadSide: RowStore + DeliveryQueue {}

impl<R: RowStore + DeliveryQueue + ?Sized> ReadSide for R {}

/// A kind of read side.
///
/// Each case has a backend value of its own, which lives until the case is over. An async
/// closure from limits to a read side is a backend already.
#[async_trait]
pub trait ReadSideBackend: Send + Sync {
    /// A new read side with these limits, with nothing in it, that no other one shares.
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide>;
}

#[async_trait]
impl<F, R, Opening> ReadSideBackend for F
where
    F: Fn(Limits) -> Opening + Send + Sync,
    Opening: Future<Output = R> + Send,
    R: ReadSide + 'static,
{
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide> {
        Arc::new(self(limits).await)
    }
}

/// A backend whose read sides outlive the values that wrote them.
#[async_trait]
pub trait DurableReadSide: ReadSideBackend {
    /// The read side at `place`, with nothing in it the first time.
    ///
    /// Before it opens a place again the suite drops everything it had opened there. Where a
    /// database closes in the background, wait for that here.
    async fn open_at(&self, place: &str) -> Arc<dyn ReadSide>;
}

/// Enrols a read side: makes a `#[test]` of every case.
///
/// Takes an expression for a [`ReadSideBackend`](crate::read_side::ReadSideBackend), evaluated
/// anew for each test, and behind it `durable` where it is
/// [`DurableReadSide`](crate::read_side::DurableReadSide) too.
#[macro_export]
macro_rules! read_side_suite {
    ($backend:expr $(, $capability:ident)* $(,)?) => {
        $crate::__each_read_side_case! { __read_side_tests plain $backend }
        $($crate::__each_read_side_case! { __read_side_tests $capability $backend })*
    };
}

/// The list of all cases: the one place where a case is entered.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_read_side_case {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            plain {
                Checkpoints checkpoints::enrolling {
                    checkpoints_there_are_none_at_first
                    checkpoints_begin_where_they_are_told
                    checkpoints_stay_when_a_subscriber_enrols_again
                    checkpoints_of_another_version_are_refused
                    checkpoints_of_another_version_are_built_beside
                    checkpoints_are_made_once_by_many_who_enrol
                    checkpoints_are_listed_by_their_subscribers_names
                    checkpoints_of_no_parts_or_too_many_are_refused
                }
                Checkpoints checkpoints::generations {
                    checkpoints_of_a_new_generation_stand_beside_the_others
                    checkpoints_activated_fence_those_before
                    checkpoints_activated_are_as_far_as_those_before
                    checkpoints_activated_while_others_move_never_go_back
                    checkpoints_discarded_are_fenced
                    checkpoints_of_a_generation_never_come_again
                }
                Checkpoints checkpoints::leases {
                    checkpoints_have_one_owner
                    checkpoints_have_a_higher_fence_with_each_claim
                    checkpoints_renewed_are_kept_longer
                    checkpoints_released_are_free
                    checkpoints_of_parts_are_claimed_apart
                    checkpoints_are_claimed_by_16_tasks_one_at_a_time
                }
                Checkpoints checkpoints::advancing {
                    checkpoints_move_by_themselves
                    checkpoints_never_go_back
                    checkpoints_fail_until_they_move
                    checkpoints_resumed_have_no_failures
                    checkpoints_remember_what_was_parked
                    checkpoints_keep_any_text
                }
                Checkpoints checkpoints::deleting {
                    checkpoints_deleted_are_unknown
                    checkpoints_that_are_worked_are_not_deleted
                    checkpoints_deleted_fence_those_before
                }
                Rows rows::committing {
                    rows_there_are_none_at_first
                    rows_come_back_as_they_were_written
                    rows_and_the_checkpoint_move_together
                    rows_of_a_lost_lease_are_not_written
                    rows_of_a_stretch_are_written_once
                    rows_too_large_are_refused
                    rows_by_the_thousand_are_written
                    rows_counted_up_by_many_tasks_add_up
                }
                Rows rows::generations {
                    rows_of_subscribers_stay_apart
                    rows_read_are_the_active_generations
                    rows_of_a_generation_that_is_gone_do_not_come_again
                    rows_nobody_needs_are_swept
                }
                Rows rows::deleting {
                    rows_of_a_deleted_subscriber_are_gone
                }
                Rows rows::listing {
                    rows_are_listed_in_the_order_of_their_bytes
                    rows_are_listed_by_prefix
                    rows_are_listed_in_pages
                }
                Deliveries deliveries::enqueuing {
                    deliveries_there_are_none_at_first
                    deliveries_come_as_they_were_enqueued
                    deliveries_are_enqueued_once
                    deliveries_and_checkpoints_move_together
                    deliveries_with_long_names_are_refused
                    deliveries_by_the_thousand_are_enqueued
                }
                Deliveries deliveries::taking {
                    deliveries_are_taken_by_their_positions
                    deliveries_are_not_taken_before_their_time
                    deliveries_that_are_taken_are_hidden
                    deliveries_that_are_kept_are_hidden_longer
                    deliveries_are_taken_by_one_of_16_tasks
                    deliveries_of_a_paused_inbox_are_not_taken
                    deliveries_say_when_the_next_is_due
                }
                Deliveries deliveries::lanes {
                    deliveries_of_a_lane_are_taken_one_after_the_other
                    deliveries_of_one_event_in_a_lane_go_by_id
                    deliveries_that_fail_hold_up_their_lane_alone
                    deliveries_wait_for_a_head_that_is_not_due
                    deliveries_in_other_lanes_are_not_held_up
                }
                Deliveries deliveries::settling {
                    deliveries_that_are_done_are_done
                    deliveries_are_tried_again_when_they_are_told
                    deliveries_given_back_were_not_tried
                    deliveries_are_not_settled_with_an_old_token
                    deliveries_remember_their_attempts
                    deliveries_keep_any_text
                }
                Deliveries deliveries::by_hand {
                    deliveries_retried_are_due_at_once
                    deliveries_skipped_remember_why
                    deliveries_are_selected_by_each_criterion
                    deliveries_are_listed_in_pages
                    deliveries_are_counted_by_inbox
                    deliveries_that_are_over_are_forgotten
                }
                Deliveries deliveries::deleting {
                    deliveries_of_a_deleted_inbox_are_gone
                    deliveries_that_are_being_made_are_not_deleted
                    deliveries_enqueued_while_their_inbox_is_deleted_come_again
                }
                Deliveries deliveries::storm {
                    deliveries_of_a_storm_are_made_in_order_and_end
                }
                Deliveries deliveries::model {
                    deliveries_any_history_agrees_with_a_model
                }
            }
            durable {
                Checkpoints checkpoints::durable {
                    checkpoints_are_found_after_opening_again
                }
                Rows rows::durable {
                    rows_are_found_after_opening_again
                }
                Deliveries deliveries::durable {
                    deliveries_are_found_after_opening_again
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __read_side_tests {
    (
        [plain $backend:expr]
        plain { $($guarantee:ident $group:ident::$file:ident { $($case:ident)* })* }
        durable $durable:tt
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::read_side::run_plain(stringify!($case), $backend);
            }
        )*)*
    };
    (
        [durable $backend:expr]
        plain $plain:tt
        durable { $($guarantee:ident $group:ident::$file:ident { $($case:ident)* })* }
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::read_side::run_durable(stringify!($case), $backend);
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

macro_rules! read_side_registry {
    (
        []
        plain { $($guarantee:ident $group:ident::$file:ident { $($case:ident)* })* }
        durable {
            $($d_guarantee:ident $d_group:ident::$d_file:ident { $($d_case:ident)* })*
        }
    ) => {
        /// The cases that every read side passes.
        pub static CASES: &[Case<dyn ReadSideBackend>] = &[$($(Case {
            name: stringify!($case),
            guarantee: Guarantee::$guarantee,
            run: |backend| Box::pin($group::$file::$case(backend)),
        },)*)*];

        /// The cases that read sides which outlive their values pass besides.
        pub static DURABLE_CASES: &[Case<dyn DurableReadSide>] = &[$($(Case {
            name: stringify!($d_case),
            guarantee: Guarantee::$d_guarantee,
            run: |backend| Box::pin($d_group::$d_file::$d_case(backend)),
        },)*)*];
    };
}
pub(crate) use read_side_registry;

__each_read_side_case! { read_side_registry }

#[doc(hidden)]
pub fn run_plain(name: &str, backend: impl ReadSideBackend + 'static) {
    run::<dyn ReadSideBackend>(CASES, name, Arc::new(backend));
}

#[doc(hidden)]
pub fn run_durable(name: &str, backend: impl DurableReadSide + 'static) {
    run::<dyn DurableReadSide>(DURABLE_CASES, name, Arc::new(backend));
}
