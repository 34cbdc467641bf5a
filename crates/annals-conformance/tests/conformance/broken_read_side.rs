//! The suite of the read side fails where it must: each broken read side is caught by the cases
//! that are there for it, and each case has caught at least one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_conformance::Failure;
use annals_conformance::broken::read_side::*;
use annals_conformance::read_side::{
    CASES, DURABLE_CASES, DecoratedReadSide, DurableReadSide, ReadSide, ReadSideBackend,
    ReadSideDecorator,
};
use annals_core::{Limits, MemoryReadSide};
use async_trait::async_trait;

/// Breaks a sound read side.
type Breaking = fn(MemoryReadSide) -> Arc<dyn ReadSide>;

/// A backend whose read sides are all broken in the same way.
struct Broken {
    breaking: Breaking,
    places: Mutex<HashMap<String, MemoryReadSide>>,
}

#[async_trait]
impl ReadSideBackend for Broken {
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide> {
        (self.breaking)(MemoryReadSide::with(limits))
    }
}

#[async_trait]
impl DurableReadSide for Broken {
    async fn open_at(&self, place: &str) -> Arc<dyn ReadSide> {
        let side = {
            let mut places = self.places.lock().expect("no test panics while opening");
            places.entry(place.to_owned()).or_default().clone()
        };
        (self.breaking)(side)
    }
}

fn over(side: MemoryReadSide, decorator: impl ReadSideDecorator) -> Arc<dyn ReadSide> {
    Arc::new(DecoratedReadSide::over(side, decorator))
}

async fn run(breaking: Breaking, name: &str) -> Result<(), Failure> {
    let patience = Duration::from_secs(2);
    let broken = Arc::new(Broken { breaking, places: Mutex::default() });
    if let Some(case) = CASES.iter().find(|case| case.name == name) {
        return case.check_within(patience, broken as Arc<dyn ReadSideBackend>).await;
    }
    let case = DURABLE_CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    case.check_within(patience, broken as Arc<dyn DurableReadSide>).await
}

macro_rules! caught {
    ($($name:ident: $broken:expr => [$($case:ident)*];)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                for name in [$(stringify!($case)),*] {
                    let caught = run(|side| over(side, $broken), name).await;
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
    swallows_fences: SwallowsFences => [
        checkpoints_are_claimed_by_16_tasks_one_at_a_time
        checkpoints_have_one_owner
        checkpoints_never_go_back
        deliveries_and_checkpoints_move_together
        rows_counted_up_by_many_tasks_add_up
        rows_of_a_lost_lease_are_not_written
        rows_of_a_stretch_are_written_once
    ];
    escapes_twice: EscapesTwice => [
        checkpoints_keep_any_text
        deliveries_come_as_they_were_enqueued
        deliveries_keep_any_text
        rows_come_back_as_they_were_written
    ];
    forgets_when_it_closes: ForgetsWhenItCloses::default() => [
        checkpoints_are_found_after_opening_again
        deliveries_are_found_after_opening_again
        rows_are_found_after_opening_again
    ];
    counts_from_one: CountsFromOne => [
        deliveries_there_are_none_at_first
        deliveries_that_are_over_are_forgotten
        rows_nobody_needs_are_swept
        rows_there_are_none_at_first
    ];

    claims_nothing_of_the_unknown: ClaimsNothingOfTheUnknown => [
        checkpoints_activated_fence_those_before
        checkpoints_discarded_are_fenced
        checkpoints_of_another_version_are_built_beside
        checkpoints_of_parts_are_claimed_apart
        checkpoints_there_are_none_at_first
    ];
    begins_at_the_start: BeginsAtTheStart => [
        checkpoints_begin_where_they_are_told
        checkpoints_of_a_new_generation_stand_beside_the_others
        checkpoints_of_another_version_are_built_beside
    ];
    resumes_whoever_enrols: ResumesWhoeverEnrols => [
        checkpoints_stay_when_a_subscriber_enrols_again
    ];
    takes_any_version: TakesAnyVersion => [
        checkpoints_of_another_version_are_built_beside
        checkpoints_of_another_version_are_refused
    ];
    looks_then_begins: LooksThenBegins::default() => [
        checkpoints_are_made_once_by_many_who_enrol
    ];
    lists_subscribers_by_alphabet: ListsSubscribersByAlphabet => [
        checkpoints_are_listed_by_their_subscribers_names
    ];
    takes_any_number_of_parts: TakesAnyNumberOfParts => [
        checkpoints_of_no_parts_or_too_many_are_refused
    ];
    activates_what_is_gone: ActivatesWhatIsGone => [
        checkpoints_activated_fence_those_before
        checkpoints_discarded_are_fenced
        checkpoints_there_are_none_at_first
    ];
    activates_what_is_behind: ActivatesWhatIsBehind => [
        checkpoints_activated_are_as_far_as_those_before
    ];
    compares_the_last_parts: ComparesTheLastParts => [
        checkpoints_activated_are_as_far_as_those_before
    ];
    compares_parts_by_number: ComparesPartsByNumber => [
        checkpoints_activated_are_as_far_as_those_before
    ];
    waits_for_the_last_part: WaitsForTheLastPart => [
        checkpoints_activated_are_as_far_as_those_before
    ];
    swaps_while_others_move: SwapsWhileOthersMove::default() => [
        checkpoints_activated_while_others_move_never_go_back
    ];
    discards_nothing: DiscardsNothing => [
        checkpoints_discarded_are_fenced
    ];
    numbers_generations_again: NumbersGenerationsAgain => [
        checkpoints_of_a_generation_never_come_again
        checkpoints_of_a_new_generation_stand_beside_the_others
    ];
    claims_for_anybody: ClaimsForAnybody => [
        checkpoints_have_one_owner
        checkpoints_released_are_free
        checkpoints_renewed_are_kept_longer
    ];
    keeps_the_fence: KeepsTheFence::default() => [
        checkpoints_have_a_higher_fence_with_each_claim
    ];
    renews_for_no_time: RenewsForNoTime => [
        checkpoints_renewed_are_kept_longer
    ];
    releases_nothing: ReleasesNothing => [
        checkpoints_released_are_free
    ];
    claims_the_first_part: ClaimsTheFirstPart => [
        checkpoints_of_parts_are_claimed_apart
        checkpoints_remember_what_was_parked
    ];
    counts_advances: CountsAdvances => [
        checkpoints_move_by_themselves
        checkpoints_never_go_back
    ];
    fails_for_ever: FailsForEver => [
        checkpoints_fail_until_they_move
    ];
    resumes_the_paused: ResumesThePaused => [
        checkpoints_resumed_have_no_failures
    ];
    fails_and_releases: FailsAndReleases => [
        checkpoints_fail_until_they_move
    ];
    parks_in_any_order: ParksInAnyOrder => [
        checkpoints_remember_what_was_parked
    ];

    deletes_nothing: DeletesNothing => [
        checkpoints_deleted_are_unknown
    ];
    deletes_for_others: DeletesForOthers => [
        checkpoints_deleted_are_unknown
        deliveries_of_a_deleted_inbox_are_gone
        rows_of_a_deleted_subscriber_are_gone
    ];
    deletes_what_runs: DeletesWhatRuns => [
        checkpoints_that_are_worked_are_not_deleted
        deliveries_that_are_being_made_are_not_deleted
    ];
    begins_fences_anew: BeginsFencesAnew::default() => [
        checkpoints_deleted_fence_those_before
    ];
    deletes_no_rows: DeletesNoRows::default() => [
        rows_of_a_deleted_subscriber_are_gone
    ];
    deletes_no_deliveries: DeletesNoDeliveries => [
        deliveries_enqueued_while_their_inbox_is_deleted_come_again
        deliveries_of_a_deleted_inbox_are_gone
    ];
    begins_tokens_anew: BeginsTokensAnew::default() => [
        deliveries_that_are_being_made_are_not_deleted
    ];

    takes_no_rows_away: TakesNoRowsAway => [
        rows_and_the_checkpoint_move_together
        rows_by_the_thousand_are_written
    ];
    leaves_large_rows_out: LeavesLargeRowsOut => [
        rows_too_large_are_refused
    ];
    writes_one_page: WritesOnePage => [
        rows_by_the_thousand_are_written
    ];
    writes_before_it_moves: WritesBeforeItMoves => [
        rows_of_a_stretch_are_written_once
    ];
    reads_in_any_case: ReadsInAnyCase => [
        rows_of_subscribers_stay_apart
    ];
    reads_what_is_built: ReadsWhatIsBuilt => [
        rows_read_are_the_active_generations
    ];
    finds_rows_of_the_generation_before: FindsRowsOfTheGenerationBefore => [
        rows_of_a_generation_that_is_gone_do_not_come_again
        rows_read_are_the_active_generations
    ];
    sweeps_at_once: SweepsAtOnce => [
        rows_nobody_needs_are_swept
    ];
    lists_rows_by_alphabet: ListsRowsByAlphabet => [
        rows_are_listed_in_the_order_of_their_bytes
    ];
    takes_prefixes_for_patterns: TakesPrefixesForPatterns => [
        rows_are_listed_by_prefix
    ];
    lists_from_after: ListsFromAfter => [
        rows_are_listed_in_pages
        rows_are_listed_in_the_order_of_their_bytes
    ];

    enqueues_what_was_made: EnqueuesWhatWasMade => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_enqueued_once
    ];
    enqueues_before_it_moves: EnqueuesBeforeItMoves => [
        deliveries_and_checkpoints_move_together
    ];
    cuts_names: CutsNames => [
        deliveries_with_long_names_are_refused
    ];
    enqueues_one_page: EnqueuesOnePage => [
        deliveries_by_the_thousand_are_enqueued
    ];
    ignores_lanes: IgnoresLanes => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_taken_by_one_of_16_tasks
        deliveries_by_the_thousand_are_enqueued
        deliveries_of_a_lane_are_taken_one_after_the_other
        deliveries_of_a_storm_are_made_in_order_and_end
        deliveries_of_one_event_in_a_lane_go_by_id
        deliveries_that_fail_hold_up_their_lane_alone
        deliveries_wait_for_a_head_that_is_not_due
    ];
    trims_lanes: TrimsLanes => [
        deliveries_in_other_lanes_are_not_held_up
    ];
    takes_in_any_order: TakesInAnyOrder => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_taken_by_their_positions
    ];
    takes_early: TakesEarly => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_not_taken_before_their_time
    ];
    waits_for_the_dead: WaitsForTheDead => [
        deliveries_that_are_taken_are_hidden
    ];
    hands_out_twice: HandsOutTwice::default() => [
        deliveries_are_taken_by_one_of_16_tasks
    ];
    forgets_tokens: ForgetsTokens::default() => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_not_settled_with_an_old_token
        deliveries_that_are_kept_are_hidden_longer
    ];
    takes_of_the_paused: TakesOfThePaused => [
        deliveries_any_history_agrees_with_a_model
        deliveries_of_a_paused_inbox_are_not_taken
    ];
    wakes_for_lanes: WakesForLanes => [
        deliveries_any_history_agrees_with_a_model
        deliveries_say_when_the_next_is_due
    ];
    passes_over_the_dead: PassesOverTheDead => [
        deliveries_any_history_agrees_with_a_model
        deliveries_that_fail_hold_up_their_lane_alone
    ];
    settles_one: SettlesOne => [
        deliveries_by_the_thousand_are_enqueued
        deliveries_that_are_done_are_done
    ];
    tries_again_at_once: TriesAgainAtOnce => [
        deliveries_any_history_agrees_with_a_model
        deliveries_are_tried_again_when_they_are_told
    ];
    counts_what_is_given_back: CountsWhatIsGivenBack => [
        deliveries_any_history_agrees_with_a_model
        deliveries_given_back_were_not_tried
    ];
    remembers_the_last: RemembersTheLast => [
        deliveries_any_history_agrees_with_a_model
        deliveries_remember_their_attempts
    ];
    retries_the_dead: RetriesTheDead => [
        deliveries_any_history_agrees_with_a_model
        deliveries_retried_are_due_at_once
    ];
    skips_without_reason: SkipsWithoutReason => [
        deliveries_any_history_agrees_with_a_model
        deliveries_skipped_remember_why
    ];
    selects_any_recipient: SelectsAnyRecipient => [
        deliveries_are_selected_by_each_criterion
    ];
    pages_by_position: PagesByPosition => [
        deliveries_are_listed_in_pages
    ];
    counts_the_dead_as_old: CountsTheDeadAsOld => [
        deliveries_are_counted_by_inbox
    ];
    forgets_too_much: ForgetsTooMuch => [
        deliveries_any_history_agrees_with_a_model
        deliveries_that_are_over_are_forgotten
    ];
    forgets_for_others: ForgetsForOthers => [
        deliveries_any_history_agrees_with_a_model
        deliveries_that_are_over_are_forgotten
    ];
}
