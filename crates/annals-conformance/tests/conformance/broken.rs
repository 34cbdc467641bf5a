//! The suite fails where it must: each broken store is caught by the cases that are there for it,
//! and each case has caught at least one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_conformance::broken::*;
use annals_conformance::{
    Backend, CASES, CONFIGURABLE_CASES, Configurable, DURABLE_CASES, Decorated, Decorator, Durable,
    Failure,
};
use annals_core::{Clock, EventStore, Limits, MemoryStore, Position, SystemClock};
use async_trait::async_trait;
use futures_util::FutureExt;

/// Breaks a sound store, whose clock comes with it.
type Breaking = fn(MemoryStore, Arc<dyn Clock>) -> Arc<dyn EventStore>;

/// A backend whose stores are all broken in the same way.
struct Broken {
    breaking: Breaking,
    places: Mutex<HashMap<String, MemoryStore>>,
}

#[async_trait]
impl Backend for Broken {
    async fn open(&self) -> Arc<dyn EventStore> {
        (self.breaking)(MemoryStore::new(), Arc::new(SystemClock))
    }
}

#[async_trait]
impl Durable for Broken {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        let store = {
            let mut places = self.places.lock().expect("no test panics while opening");
            places.entry(place.to_owned()).or_default().clone()
        };
        (self.breaking)(store, Arc::new(SystemClock))
    }
}

#[async_trait]
impl Configurable for Broken {
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
        (self.breaking)(MemoryStore::with(clock.clone(), limits), clock)
    }
}

fn over(store: MemoryStore, decorator: impl Decorator) -> Arc<dyn EventStore> {
    Arc::new(Decorated::over(store, decorator))
}

fn head(store: &MemoryStore) -> Position {
    let head = store.head().now_or_never().expect("a store in memory never waits");
    head.expect("a store in memory can always be read")
}

fn twice(mut limits: Limits) -> Limits {
    for limit in [
        &mut limits.append_events_max,
        &mut limits.append_bytes_max,
        &mut limits.append_streams_max,
        &mut limits.append_conditions_max,
        &mut limits.event_data_bytes_max,
        &mut limits.event_metadata_bytes_max,
        &mut limits.event_tags_max,
        &mut limits.query_items_max,
        &mut limits.query_item_terms_max,
    ] {
        *limit *= 2;
    }
    limits
}

/// How a broken store gives itself away.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    /// By a wrong answer.
    AtOnce,
    /// By none: a case waits for something that never comes.
    InVain,
}

async fn is_caught(breaking: Breaking, shown: Shown, cases: &[&str]) {
    let patience = match shown {
        Shown::AtOnce => Duration::from_secs(20),
        Shown::InVain => Duration::from_millis(300),
    };
    for name in cases {
        let failure = run(breaking, patience, name).await.err();
        let failure = failure.unwrap_or_else(|| panic!("{name} does not catch it"));
        let waited = failure.message.contains("in vain") || failure.message.contains("not done");
        assert_eq!(waited, shown == Shown::InVain, "{failure}");
    }
}

async fn run(breaking: Breaking, patience: Duration, name: &str) -> Result<(), Failure> {
    let broken = Arc::new(Broken { breaking, places: Mutex::default() });
    if let Some(case) = CASES.iter().find(|case| case.name == name) {
        return case.check_within(patience, broken as Arc<dyn Backend>).await;
    }
    if let Some(case) = DURABLE_CASES.iter().find(|case| case.name == name) {
        return case.check_within(patience, broken as Arc<dyn Durable>).await;
    }
    let case = CONFIGURABLE_CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    case.check_within(patience, broken as Arc<dyn Configurable>).await
}

macro_rules! caught {
    ($(
        $store:ident: |$sound:pat_param, $clock:pat_param| $broken:expr => $shown:ident [
            $($case:ident)*
        ];
    )*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $store() {
                let breaking: Breaking = |$sound, $clock| $broken;
                is_caught(breaking, caught!($shown), &[$(stringify!($case)),*]).await;
            }
        )*

        /// A case that cannot fail is a defect of the suite.
        #[test]
        fn every_case_has_caught_something() {
            let caught: BTreeSet<_> = [$($(stringify!($case)),*),*].into();
            let plain = CASES.iter().map(|case| case.name);
            let durable = DURABLE_CASES.iter().map(|case| case.name);
            let configurable = CONFIGURABLE_CASES.iter().map(|case| case.name);
            let all: BTreeSet<_> = plain.chain(durable).chain(configurable).collect();
            assert_eq!(all.difference(&caught).collect::<Vec<_>>(), Vec::<&&str>::new());
        }
    };
    (at_once) => { Shown::AtOnce };
    (in_vain) => { Shown::InVain };
}

caught! {
    tears_appends: |store, _| over(store, TearsAppends::default()) => at_once [
        s1_an_invalid_last_event_writes_nothing
        s1_failing_at_a_condition_writes_nothing
        s1_racing_appends_leave_no_halves
    ];
    writes_one_stream: |store, _| over(store, WritesOneStream) => at_once [
        s1_failing_at_the_last_stream_writes_nothing
        s1_many_streams_are_written_together
        s1_readers_see_whole_appends
    ];
    loses_the_tail:
        |store, _| over(store.clone(), LosesTheTail::with_head(head(&store))) => at_once [
        s2_every_event_is_found_again
        s2_the_log_goes_on_behind_its_head
    ];
    remembers_since_opening: |store, _| over(store, RemembersSinceOpening::default()) => at_once [
        s2_conflicts_are_known_after_opening_again
        s2_repeats_are_known_after_opening_again
    ];
    skips_versions: |store, _| over(store, SkipsVersions) => at_once [
        s3_32_writers_leave_no_gap_and_no_repeat
        s3_a_stream_counts_from_one
        s3_refused_appends_leave_no_gap
    ];
    misreports_versions: |store, _| over(store, MisreportsVersions) => at_once [
        s3_a_stream_counts_from_one
        s3_receipts_of_32_writers_agree_with_the_log
        s3_streams_count_apart
    ];
    swaps_neighbours: |store, _| over(store, SwapsNeighbours) => at_once [
        s4_appends_of_32_writers_stay_contiguous
        s4_every_reader_sees_the_same_order
        s4_receipts_name_the_first_and_the_last_position
    ];
    misreports_positions: |store, _| over(store, MisreportsPositions) => at_once [
        s4_appends_of_32_writers_stay_contiguous
        s4_positions_rise_with_each_append
        s4_receipts_name_the_first_and_the_last_position
    ];
    publishes_late: |store, _| over(store, PublishesLate::default()) => at_once [
        s5_nothing_new_appears_up_to_a_head
        s5_pollers_miss_nothing
    ];
    misses_the_border: |store, _| over(store, MissesTheBorder) => at_once [
        s2_a_subscriber_goes_on_after_opening_again
        s5_subscribers_joining_a_storm_miss_nothing
        subscribing_from_the_head
    ];
    delivers_twice: |store, _| over(store, DeliversTwice) => at_once [
        s2_a_subscriber_goes_on_after_opening_again
        s5_subscribers_from_the_head_miss_nothing
        s5_subscribers_joining_a_storm_miss_nothing
    ];
    skips_events: |store, _| over(store, SkipsEvents) => at_once [
        s5_subscribers_from_the_head_miss_nothing
        s5_subscribers_joining_a_storm_miss_nothing
    ];
    lags_behind: |store, _| over(store, LagsBehind::default()) => at_once [
        s2_every_event_is_found_again
        s2_the_log_goes_on_behind_its_head
        s5_the_head_covers_what_is_acknowledged
    ];
    runs_ahead: |store, _| over(store, RunsAhead) => at_once [
        model_random_histories
        s5_nothing_new_appears_up_to_a_head
        s5_subscribers_from_the_head_miss_nothing
    ];
    overlooks_expected_versions: |store, _| over(store, Overlooks::ExpectedVersions) => at_once [
        s6_a_conflict_names_the_stream_at_fault
        s6_each_version_has_one_winner
        s6_losers_do_not_harm_their_neighbours
    ];
    overlooks_streams_without_events:
        |store, _| over(store, Overlooks::StreamsWithoutEvents) => at_once [
        model_random_histories
        s6_each_expected_version_is_checked
        s6_write_skew_over_versions_is_refused
    ];
    overlooks_conditions: |store, _| over(store, Overlooks::Conditions) => at_once [
        s6_a_condition_has_one_winner
        s6_each_kind_of_condition_is_checked
        s6_write_skew_over_conditions_is_refused
    ];
    overlooks_later_conditions: |store, _| over(store, Overlooks::LaterConditions) => at_once [
        s1_failing_at_a_condition_writes_nothing
        s6_every_condition_of_several_counts
        s8_conditions_of_an_append
    ];
    overlooks_what_was_seen: |store, _| over(store, Overlooks::WhatWasSeen) => at_once [
        dcb_opt_in_tokens
        s6_each_kind_of_condition_is_checked
        s6_write_skew_over_conditions_is_refused
    ];
    overlooks_tags: |store, _| over(store, Overlooks::Tags) => at_once [
        dcb_record_duplication
        s6_near_misses_do_not_conflict
        s6_unrelated_appends_never_conflict
    ];
    looks_before_it_writes: |store, _| over(store, LooksBeforeItWrites::default()) => at_once [
        dcb_course_subscriptions_racing
        dcb_dynamic_prices_racing
        dcb_invoice_numbers_racing
        dcb_opt_in_tokens_racing
        dcb_record_duplication_racing
        dcb_unique_usernames_racing
        s6_a_condition_has_one_winner
        s6_deciding_again_ends_as_if_one_by_one
        s6_each_version_has_one_winner
        s6_no_stream_has_one_winner
        s6_retrying_writers_lose_no_update
        s6_write_skew_over_conditions_is_refused
        s6_write_skew_over_versions_is_refused
    ];
    fails_neighbours: |store, _| over(store, FailsNeighbours::default()) => at_once [
        s6_each_version_has_one_winner
        s6_losers_do_not_harm_their_neighbours
        s6_no_stream_has_one_winner
    ];
    conflicts_with_itself: |store, _| over(store, ConflictsWithItself) => at_once [
        dcb_invoice_numbers
        s6_an_append_does_not_conflict_with_itself
        s6_deciding_again_ends_as_if_one_by_one
    ];
    conflicts_without_reason: |store, _| over(store, ConflictsWithoutReason) => at_once [
        s6_a_condition_has_one_winner
        s6_a_conflict_names_the_stream_at_fault
        s6_each_kind_of_condition_is_checked
    ];
    writes_repeats: |store, _| over(store, WritesRepeats::default()) => at_once [
        s7_a_partial_repeat_is_refused
        s7_concurrent_duplicates_are_written_once
        s7_the_same_ids_in_other_streams_are_refused
    ];
    refuses_repeats: |store, _| over(store, RefusesRepeats) => at_once [
        s7_a_refused_append_may_be_tried_again
        s7_a_repeat_returns_the_first_receipt
        s7_repeats_beside_a_storm_write_nothing
    ];
    answers_repeats_anew: |store, _| over(store, AnswersRepeatsAnew) => at_once [
        s7_a_refused_append_may_be_tried_again
        s7_a_repeat_returns_the_first_receipt
        s7_a_repeat_succeeds_after_the_log_moved_on
    ];
    skips_stored_events: |store, _| over(store, SkipsStoredEvents) => at_once [
        s7_a_partial_repeat_is_refused
        s7_the_ids_of_two_appends_together_are_refused
        s7_the_same_ids_in_other_streams_are_refused
    ];
    burns_ids: |store, _| over(store, BurnsIds::default()) => at_once [
        s7_a_refused_append_may_be_tried_again
    ];
    tells_other_limits:
        |_, clock| over(MemoryStore::with(clock, twice(Limits::DEFAULT)), TellsOtherLimits) => at_once [
        s8_bytes_of_an_events_data
        s8_bytes_of_an_events_metadata
        s8_chosen_limits_are_kept
        s8_conditions_of_an_append
        s8_events_of_an_append
        s8_events_of_an_append_over_streams
        s8_items_of_a_query
        s8_streams_of_an_append
        s8_tags_of_an_event
        s8_terms_of_a_query_item
    ];
    accepts_nonsense: |store, _| over(store, AcceptsNonsense) => at_once [
        model_random_histories
        s8_appends_that_make_no_sense
    ];
    cuts_off_data: |store, _| over(store, CutsOffData) => at_once [
        s8_bytes_of_an_append
        s8_bytes_of_an_events_data
        s8_ten_megabytes_are_kept_whole_or_refused
    ];
    trusts_the_clock: |store, clock| over(store, TrustsTheClock::new(clock)) => at_once [
        s9_a_clock_that_jumps_back_takes_no_event_along
    ];
    stamps_each_event: |store, _| over(store, StampsEachEvent) => at_once [
        s9_a_clock_that_jumps_back_takes_no_event_along
        s9_as_at_has_one_answer_for_ever
        s9_recorded_at_does_not_decrease_under_32_writers
    ];
    keeps_milliseconds: |store, _| over(store, KeepsMilliseconds) => at_once [
        s9_an_append_is_recorded_at_one_moment
        s9_occurred_at_is_the_callers
        s9_recorded_at_is_the_clocks_to_the_microsecond
    ];
    answers_for_earlier: |store, _| over(store, AnswersForEarlier) => at_once [
        model_random_histories
        s9_as_at_draws_the_line_exactly
        s9_as_at_has_one_answer_for_ever
        s9_as_at_looks_behind_what_came_later
    ];
    looks_at_one_page: |store, _| over(store, LooksAtOnePage) => at_once [
        s9_as_at_looks_behind_what_came_later
    ];
    reserialises_json: |store, _| over(store, ReserialisesJson) => at_once [
        s10_data_is_not_looked_into
        s10_metadata_keeps_its_text
    ];
    stamps_ids: |store, _| over(store, StampsIds) => at_once [
        model_random_histories
        s10_ids_may_be_any_bytes
    ];
    folds_case: |store, _| over(store, FoldsCase) => at_once [
        dcb_unique_usernames
        s10_events_come_back_as_they_were_given
        s10_streams_with_hostile_names_stay_apart
        s10_tags_are_sorted_without_repeats
        s10_tags_with_hostile_values_stay_apart
        s10_types_with_hostile_names_stay_apart
    ];
    ignores_after: |store, _| over(store, Ignores::After) => at_once [
        dcb_invoice_numbers
        reading_by_positions
        reading_more_than_any_page
    ];
    ignores_up_to: |store, _| over(store, Ignores::UpTo) => at_once [
        model_random_histories
        reading_by_positions
        reading_more_than_any_page
    ];
    ignores_versions: |store, _| over(store, Ignores::Versions) => at_once [
        reading_a_stream_by_versions
        reading_more_than_any_page
        reading_refuses_versions_of_a_query
    ];
    ignores_direction: |store, _| over(store, Ignores::Direction) => at_once [
        reading_a_stream_by_versions
        reading_by_types
        reading_may_stop_half_way
    ];
    ignores_limit: |store, _| over(store, Ignores::Limit) => at_once [
        reading_a_stream_by_versions
        reading_by_tags
        reading_with_a_limit
    ];
    misreads_empty_queries: |store, _| over(store, Misreads::EmptyQueries) => at_once [
        model_random_histories
        reading_by_a_query_without_items
    ];
    misreads_several_tags: |store, _| over(store, Misreads::SeveralTags) => at_once [
        dcb_opt_in_tokens
        reading_by_all_terms_of_an_item
        reading_by_tags
    ];
    misreads_several_types: |store, _| over(store, Misreads::SeveralTypes) => at_once [
        dcb_course_subscriptions
        reading_by_types
        s4_every_reader_sees_the_same_order
    ];
    misreads_several_items: |store, _| over(store, Misreads::SeveralItems) => at_once [
        dcb_course_subscriptions
        dcb_dynamic_prices
        reading_by_any_item_of_a_query
    ];
    misreads_places: |store, _| over(store, Misreads::Places) => at_once [
        model_random_histories
        reading_by_all_terms_of_an_item
        reading_by_categories_or_streams
    ];
    misreads_categories: |store, _| over(store, Misreads::Categories) => at_once [
        reading_by_all_terms_of_an_item
        reading_by_categories_or_streams
        reading_categories
    ];
    misreads_terms: |store, _| over(store, Misreads::Terms) => at_once [
        model_random_histories
        reading_by_all_terms_of_an_item
        s8_terms_of_a_query_item
    ];
    repeats_matches: |store, _| over(store, RepeatsMatches) => at_once [
        reading_by_any_item_of_a_query
        s4_every_reader_sees_the_same_order
    ];
    reads_one_page: |store, _| over(store, ReadsOnePage) => at_once [
        reading_is_of_one_moment
        reading_more_than_any_page
        subscribing_to_more_than_any_page
    ];
    reads_at_several_moments: |store, _| over(store, ReadsAtSeveralMoments) => at_once [
        reading_is_of_one_moment
    ];
    reads_one_by_one: |store, _| over(store, ReadsOneByOne::default()) => in_vain [
        reading_may_stop_half_way
    ];
    misses_unknown_streams: |store, _| over(store, MissesUnknownStreams) => at_once [
        reading_a_stream_by_versions
        reading_an_empty_log
        reading_by_positions
    ];
    catches_up_on_matches: |store, _| over(store, CatchesUpOnMatches) => in_vain [
        subscribing_a_hundred_times
        subscribing_catches_up_though_nothing_matches
        subscribing_from_the_head
    ];
    catches_up_once: |store, _| over(store, CatchesUpOnce) => in_vain [
        subscribing_catches_up_though_nothing_matches
        subscribing_from_the_head
        subscribing_says_when_it_has_caught_up
    ];
    catches_up_too_early: |store, _| over(store, CatchesUpTooEarly) => at_once [
        subscribing_a_hundred_times
        subscribing_delivers_appends_in_one_piece
        subscribing_from_the_beginning
    ];
    ends_at_the_head: |store, _| over(store, EndsAtTheHead) => at_once [
        subscribing_from_the_head
        subscribing_slowly_holds_up_nobody
        subscribing_to_what_matches
    ];
    starts_too_early: |store, _| over(store, StartsTooEarly) => at_once [
        subscribing_a_hundred_times
        subscribing_after_each_position
        subscribing_again_from_each_checkpoint
        subscribing_to_more_than_any_page
    ];
    filters_only_stored: |store, _| over(store, FiltersOnlyStored) => at_once [
        subscribing_catches_up_though_nothing_matches
        subscribing_says_when_it_has_caught_up
        subscribing_to_an_empty_log
    ];
    waits_for_subscribers: |store, _| over(store, WaitsForSubscribers::default()) => in_vain [
        subscribing_may_end_at_any_moment
        subscribing_slowly_holds_up_nobody
    ];
    serves_few: |store, _| over(store, ServesFew::default()) => at_once [
        subscribing_a_hundred_times
    ];
    leaves_together: |store, _| over(store, LeavesTogether::default()) => at_once [
        subscribing_from_the_head
        subscribing_may_end_at_any_moment
    ];
}
