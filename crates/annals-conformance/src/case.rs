//! The cases: their list, how they are enrolled, and how one is run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::probe::{PATIENCE, PATIENCE_OF_CASE};
use crate::{Backend, Configurable, Durable};

/// A case that takes longer than this many waits in vain goes round in circles.
const PATIENCES_OF_A_CASE: u32 = 4;

/// One thing that must be true of every store.
#[derive(Debug)]
pub struct Case<B: ?Sized> {
    /// Its name, which is also the name of the test that [`suite!`](crate::suite) makes of it.
    pub name: &'static str,
    /// What it holds the store to.
    pub guarantee: Guarantee,
    pub(crate) run: for<'a> fn(&'a B) -> BoxFuture<'a, ()>,
}

impl<B: ?Sized + Send + Sync + 'static> Case<B> {
    /// Puts the stores of `backend` through the case. Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`Failure`], which says what the store got wrong.
    pub async fn check(&self, backend: Arc<B>) -> Result<(), Failure> {
        self.check_within(PATIENCE, backend).await
    }

    /// The same, waiting only so long for anything that must come. For stores in memory that
    /// are known to be broken; a slow disk needs more.
    ///
    /// # Errors
    /// [`Failure`], which says what the store got wrong.
    pub async fn check_within(&self, patience: Duration, backend: Arc<B>) -> Result<(), Failure> {
        let run = self.run;
        let case = PATIENCE_OF_CASE.scope(patience, async move { run(&backend).await });
        let task = tokio::spawn(case);
        let stop = task.abort_handle();
        let deadline = PATIENCES_OF_A_CASE * patience;
        let message = match tokio::time::timeout(deadline, task).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(panicked)) => said(panicked),
            Err(_) => format!("the case is not done after {deadline:?}"),
        };
        stop.abort();
        Err(Failure { case: self.name, guarantee: self.guarantee, message })
    }
}

fn said(panicked: tokio::task::JoinError) -> String {
    let Ok(payload) = panicked.try_into_panic() else {
        return "the case was cancelled".to_owned();
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast::<&'static str>()
            .map_or_else(|_| "the case panicked without a text".to_owned(), |text| (*text).into()),
    }
}

/// What a store got wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the case.
    pub case: &'static str,
    /// The guarantee that is broken.
    pub guarantee: Guarantee,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, guarantee, message } = self;
        write!(f, "{case}\nbroken guarantee: {guarantee}\n{message}")
    }
}

impl std::error::Error for Failure {}

/// What a case holds a store to: S1 to S10 of [`EventStore`](annals_core::EventStore), and what
/// follows from several of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// S1.
    Atomic,
    /// S2.
    Durable,
    /// S3.
    DenseVersions,
    /// S4.
    OneOrder,
    /// S5.
    NothingMissed,
    /// S6.
    ExactConflicts,
    /// S7.
    Idempotent,
    /// S8.
    Bounded,
    /// S9.
    Time,
    /// S10.
    OpaqueData,
    /// Reads return what lies within their bounds.
    Reading,
    /// Subscriptions catch up, say so, and follow.
    Subscribing,
    /// The worked examples of dynamic consistency boundaries.
    Boundaries,
    /// Any history gives the same answers as a plain model of the contract.
    Model,
    /// What [`SnapshotStore`](annals_core::SnapshotStore) says.
    Snapshots,
    /// What [`CheckpointStore`](annals_core::CheckpointStore) says.
    Checkpoints,
    /// What [`RowStore`](annals_core::RowStore) says.
    Rows,
    /// What [`DeliveryQueue`](annals_core::DeliveryQueue) says.
    Deliveries,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Atomic => "S1, an append is stored and seen whole or not at all",
            Self::Durable => "S2, what append acknowledged is still there after opening again",
            Self::DenseVersions => "S3, a stream's versions are 1..n without gaps or repeats",
            Self::OneOrder => "S4, positions order the log, the same for every reader",
            Self::NothingMissed => "S5, nothing new ever appears at or before a position seen",
            Self::ExactConflicts => "S6, appends conflict exactly when they must",
            Self::Idempotent => "S7, repeating an append returns its first receipt",
            Self::Bounded => "S8, every input has a limit that is checked before any write",
            Self::Time => "S9, recorded_at never decreases in a stream",
            Self::OpaqueData => "S10, data, metadata and names come back byte for byte",
            Self::Reading => "reads return exactly what lies within their bounds",
            Self::Subscribing => "subscriptions catch up, say so, and follow",
            Self::Boundaries => "decisions over queries hold across streams (S6)",
            Self::Model => "any history gives the answers of a plain model",
            Self::Snapshots => "a snapshot is the newest of its stream and fold, as it was saved",
            Self::Checkpoints => "a checkpoint moves on, by the one owner of its part",
            Self::Rows => "rows change together with the checkpoint, or not at all",
            Self::Deliveries => {
                "a delivery is made by one at a time, in its lane, until it is done"
            }
        })
    }
}

/// Enrols a store: makes a `#[test]` of every case.
///
/// Takes an expression for a [`Backend`], evaluated anew for each test; behind it the
/// capabilities whose cases are enrolled too, `durable` ([`Durable`]) and `configurable`
/// ([`Configurable`]). See the [crate's page](crate) for examples.
#[macro_export]
macro_rules! suite {
    ($backend:expr $(, $capability:ident)* $(,)?) => {
        $crate::__each_case! { __tests plain $backend }
        $($crate::__each_case! { __tests $capability $backend })*
    };
}

/// The list of all cases: the one place where a case is entered.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_case {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            plain {
                Atomic atomic {
                    s1_many_streams_are_written_together
                    s1_failing_at_the_last_stream_writes_nothing
                    s1_failing_at_a_condition_writes_nothing
                    s1_an_invalid_last_event_writes_nothing
                    s1_racing_appends_leave_no_halves
                    s1_readers_see_whole_appends
                }
                DenseVersions versions {
                    s3_a_stream_counts_from_one
                    s3_streams_count_apart
                    s3_refused_appends_leave_no_gap
                    s3_32_writers_leave_no_gap_and_no_repeat
                    s3_receipts_of_32_writers_agree_with_the_log
                }
                OneOrder order {
                    s4_positions_rise_with_each_append
                    s4_receipts_name_the_first_and_the_last_position
                    s4_every_reader_sees_the_same_order
                    s4_appends_of_32_writers_stay_contiguous
                }
                NothingMissed nothing_missed {
                    s5_pollers_miss_nothing
                    s5_nothing_new_appears_up_to_a_head
                    s5_the_head_covers_what_is_acknowledged
                    s5_subscribers_joining_a_storm_miss_nothing
                    s5_subscribers_from_the_head_miss_nothing
                }
                ExactConflicts conflicts {
                    s6_each_expected_version_is_checked
                    s6_no_stream_has_one_winner
                    s6_each_version_has_one_winner
                    s6_retrying_writers_lose_no_update
                    s6_each_kind_of_condition_is_checked
                    s6_near_misses_do_not_conflict
                    s6_an_append_does_not_conflict_with_itself
                    s6_every_condition_of_several_counts
                    s6_a_condition_has_one_winner
                    s6_write_skew_over_conditions_is_refused
                    s6_write_skew_over_versions_is_refused
                    s6_losers_do_not_harm_their_neighbours
                    s6_unrelated_appends_never_conflict
                    s6_a_conflict_names_the_stream_at_fault
                    s6_deciding_again_ends_as_if_one_by_one
                }
                Idempotent idempotent {
                    s7_a_repeat_returns_the_first_receipt
                    s7_a_repeat_succeeds_after_the_log_moved_on
                    s7_concurrent_duplicates_are_written_once
                    s7_repeats_beside_a_storm_write_nothing
                    s7_a_partial_repeat_is_refused
                    s7_the_same_ids_in_other_streams_are_refused
                    s7_the_ids_of_two_appends_together_are_refused
                    s7_a_refused_append_may_be_tried_again
                }
                Bounded bounded {
                    s8_events_of_an_append
                    s8_events_of_an_append_over_streams
                    s8_streams_of_an_append
                    s8_bytes_of_an_append
                    s8_conditions_of_an_append
                    s8_bytes_of_an_events_data
                    s8_bytes_of_an_events_metadata
                    s8_tags_of_an_event
                    s8_items_of_a_query
                    s8_terms_of_a_query_item
                    s8_appends_that_make_no_sense
                    s8_ten_megabytes_are_kept_whole_or_refused
                }
                Time time {
                    s9_an_append_is_recorded_at_one_moment
                    s9_recorded_at_does_not_decrease_under_32_writers
                    s9_occurred_at_is_the_callers
                    s9_as_at_has_one_answer_for_ever
                    s9_as_at_looks_behind_what_came_later
                }
                OpaqueData opaque {
                    s10_events_come_back_as_they_were_given
                    s10_data_is_not_looked_into
                    s10_metadata_keeps_its_text
                    s10_ids_may_be_any_bytes
                    s10_tags_are_sorted_without_repeats
                    s10_streams_with_hostile_names_stay_apart
                    s10_types_with_hostile_names_stay_apart
                    s10_tags_with_hostile_values_stay_apart
                }
                Reading reading {
                    reading_an_empty_log
                    reading_a_stream_by_versions
                    reading_by_positions
                    reading_with_a_limit
                    reading_categories
                    reading_by_types
                    reading_by_tags
                    reading_by_categories_or_streams
                    reading_by_all_terms_of_an_item
                    reading_by_any_item_of_a_query
                    reading_by_a_query_without_items
                    reading_refuses_versions_of_a_query
                    reading_more_than_any_page
                    reading_is_of_one_moment
                    reading_may_stop_half_way
                }
                Subscribing subscribing {
                    subscribing_to_an_empty_log
                    subscribing_from_the_beginning
                    subscribing_after_each_position
                    subscribing_from_the_head
                    subscribing_says_when_it_has_caught_up
                    subscribing_catches_up_though_nothing_matches
                    subscribing_to_what_matches
                    subscribing_to_more_than_any_page
                    subscribing_delivers_appends_in_one_piece
                    subscribing_again_from_each_checkpoint
                    subscribing_may_end_at_any_moment
                    subscribing_slowly_holds_up_nobody
                    subscribing_a_hundred_times
                }
                Boundaries dcb {
                    dcb_course_subscriptions
                    dcb_course_subscriptions_racing
                    dcb_record_duplication
                    dcb_record_duplication_racing
                    dcb_invoice_numbers
                    dcb_invoice_numbers_racing
                    dcb_opt_in_tokens
                    dcb_opt_in_tokens_racing
                    dcb_dynamic_prices
                    dcb_dynamic_prices_racing
                    dcb_unique_usernames
                    dcb_unique_usernames_racing
                }
                Model model {
                    model_random_histories
                }
            }
            durable {
                Durable durable {
                    s2_every_event_is_found_again
                    s2_the_log_goes_on_behind_its_head
                    s2_repeats_are_known_after_opening_again
                    s2_conflicts_are_known_after_opening_again
                    s2_a_subscriber_goes_on_after_opening_again
                }
            }
            configurable {
                Bounded bounded {
                    s8_chosen_limits_are_kept
                }
                Time time {
                    s9_recorded_at_is_the_clocks_to_the_microsecond
                    s9_a_clock_that_jumps_back_takes_no_event_along
                    s9_as_at_draws_the_line_exactly
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (
        [plain $backend:expr]
        plain { $($guarantee:ident $file:ident { $($case:ident)* })* }
        durable $durable:tt
        configurable $configurable:tt
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::run_plain(stringify!($case), $backend);
            }
        )*)*
    };
    (
        [durable $backend:expr]
        plain $plain:tt
        durable { $($guarantee:ident $file:ident { $($case:ident)* })* }
        configurable $configurable:tt
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::run_durable(stringify!($case), $backend);
            }
        )*)*
    };
    (
        [configurable $backend:expr]
        plain $plain:tt
        durable $durable:tt
        configurable { $($guarantee:ident $file:ident { $($case:ident)* })* }
    ) => {
        $($(
            #[test]
            fn $case() {
                $crate::run_configurable(stringify!($case), $backend);
            }
        )*)*
    };
    ([$capability:ident $backend:expr] $($rest:tt)*) => {
        compile_error!(concat!(
            "no capability is called `",
            stringify!($capability),
            "`; there are `durable` and `configurable`"
        ));
    };
}

macro_rules! registry {
    (
        []
        plain { $($guarantee:ident $file:ident { $($case:ident)* })* }
        durable { $($d_guarantee:ident $d_file:ident { $($d_case:ident)* })* }
        configurable { $($c_guarantee:ident $c_file:ident { $($c_case:ident)* })* }
    ) => {
        /// The cases that every store passes.
        pub static CASES: &[Case<dyn Backend>] = &[$($(Case {
            name: stringify!($case),
            guarantee: Guarantee::$guarantee,
            run: |backend| Box::pin(crate::$file::$case(backend)),
        },)*)*];

        /// The cases that stores over lasting logs pass besides.
        pub static DURABLE_CASES: &[Case<dyn Durable>] = &[$($(Case {
            name: stringify!($d_case),
            guarantee: Guarantee::$d_guarantee,
            run: |backend| Box::pin(crate::$d_file::$d_case(backend)),
        },)*)*];

        /// The cases that stores with a chosen clock and chosen limits pass besides.
        pub static CONFIGURABLE_CASES: &[Case<dyn Configurable>] = &[$($(Case {
            name: stringify!($c_case),
            guarantee: Guarantee::$c_guarantee,
            run: |backend| Box::pin(crate::$c_file::$c_case(backend)),
        },)*)*];
    };
}
pub(crate) use registry;

__each_case! { registry }

#[doc(hidden)]
pub fn run_plain(name: &str, backend: impl Backend + 'static) {
    run::<dyn Backend>(CASES, name, Arc::new(backend));
}

#[doc(hidden)]
pub fn run_durable(name: &str, backend: impl Durable + 'static) {
    run::<dyn Durable>(DURABLE_CASES, name, Arc::new(backend));
}

#[doc(hidden)]
pub fn run_configurable(name: &str, backend: impl Configurable + 'static) {
    run::<dyn Configurable>(CONFIGURABLE_CASES, name, Arc::new(backend));
}

pub(crate) fn run<B>(cases: &[Case<B>], name: &str, backend: Arc<B>)
where
    B: ?Sized + Send + Sync + 'static,
{
    let case = cases
        .iter()
        .find(|case| case.name == name)
        .expect("tests and registry are made from the same list");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a test may start threads");
    if let Err(failure) = runtime.block_on(case.check(backend)) {
        panic!("{failure}");
    }
}
