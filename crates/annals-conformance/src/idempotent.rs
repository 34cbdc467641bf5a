//! S7: a caller that lost the answer may always repeat the call.

use annals_core::error::Invalid;
use annals_core::{Append, AppendCondition, ExpectedVersion, NewEvent};

use crate::Backend;
use crate::probe::{Probe, same_events};
use crate::storm::{storm, together};
use crate::words::{event, events, exact, stream, tag, tagged};

use ExpectedVersion::{Any, NoStream, StreamExists};

pub(crate) async fn s7_a_repeat_returns_the_first_receipt(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let append = Append::to(stream("b-1"), NoStream, events("Made", 3))
        .and_to(stream("a-1"), Any, events("Made", 1))
        .and_to(stream("looked-at-1"), NoStream, []);
    let first = store.accepts(append.clone()).await;
    let before = store.log().await;
    for _ in 0..3 {
        assert_eq!(store.accepts(append.clone()).await, first);
    }
    same_events("the log after repeats", &before, &store.log().await);
}

/// Neither the expected versions nor the condition hold any more, but what is stored is stored.
pub(crate) async fn s7_a_repeat_succeeds_after_the_log_moved_on(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let free = || AppendCondition::none_match(tagged(["seat:1"]));
    let taken = |name: &str, expected| {
        Append::to(stream(name), expected, [event("Made").tagged(tag("row:1"))])
    };
    let appends = [
        taken("a-1", NoStream),
        taken("a-1", exact(1)),
        taken("a-1", StreamExists),
        taken("b-1", Any).only_if(free()),
        taken("c-1", Any).and_to(stream("d-1"), NoStream, []),
        Append::to(stream("e-1"), Any, [event("Taken").tagged(tag("seat:1"))]).only_if(free()),
    ];
    let mut receipts = Vec::new();
    for append in &appends {
        receipts.push(store.accepts(append.clone()).await);
    }
    store.accepts(Append::to(stream("d-1"), NoStream, events("Made", 1))).await;
    store.accepts(Append::to(stream("a-1"), exact(3), events("Made", 2))).await;
    let before = store.log().await;
    for (append, receipt) in appends.into_iter().zip(receipts) {
        assert_eq!(store.accepts(append).await, receipt);
    }
    same_events("the log after repeats", &before, &store.log().await);
}

pub(crate) async fn s7_concurrent_duplicates_are_written_once(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for round in 0..4 {
        let made = NewEvent::tagged(event("Made"), tag(format!("round:{round}")));
        let query = tagged([format!("round:{round}").as_str()]);
        let append = Append::to(stream(format!("a-{round}")), NoStream, [made])
            .and_to(stream("shared-1"), exact(2 * round), events("Made", 2))
            .only_if(AppendCondition::none_match(query));
        let outcomes = storm(&store, 16, 1, move |_, _| append.clone()).await;
        for outcome in &outcomes {
            assert_eq!(outcome.receipt(), outcomes[0].receipt());
        }
    }
    assert_eq!(store.log().await.len(), 12);
}

/// Appends of a storm are each sent twice, the second time beside all the others.
pub(crate) async fn s7_repeats_beside_a_storm_write_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let receipts = together(16, |writer| {
        let store = store.clone();
        async move {
            let mut pairs = Vec::new();
            for number in 0..3 {
                let own = stream(format!("own-{writer}"));
                let append = Append::to(own, exact(number), events("Made", 1)).and_to(
                    stream("shared-1"),
                    Any,
                    events("Made", 1),
                );
                let first = store.accepts(append.clone()).await;
                pairs.push((first, store.accepts(append).await));
            }
            pairs
        }
    })
    .await;
    for (first, second) in receipts.iter().flatten() {
        assert_eq!(first, second);
    }
    assert_eq!(store.log().await.len(), 96);
}

/// Fewer events, more events, other events among them: none of these is the same append.
pub(crate) async fn s7_a_partial_repeat_is_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let old = events("Made", 3);
    let receipt = store.accepts(Append::to(stream("a-1"), Any, old.clone())).await;
    let fewer = old[..2].to_vec();
    let more = [old.clone(), events("Made", 1)].concat();
    let shifted = [events("Made", 1), old.clone()].concat();
    let mixed = vec![old[0].clone(), event("Made"), old[2].clone()];
    for given in [fewer, more, shifted, mixed, vec![old[2].clone()]] {
        let partial = Append::to(stream("a-1"), Any, given);
        let invalid = store.refuses(partial).await;
        match invalid {
            Invalid::IdsPartlyStored { id, position } => {
                assert!(old.iter().any(|event| event.id == id), "{id} is not stored");
                let range = receipt.first_position..=receipt.last_position;
                assert!(range.contains(&position), "{id} is not stored at {position}");
            }
            other => panic!("must say which id is stored, but: {other:?}"),
        }
    }
}

pub(crate) async fn s7_the_same_ids_in_other_streams_are_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let old = events("Made", 2);
    store.accepts(Append::to(stream("a-1"), Any, old.clone())).await;
    let [first, second] = [old[0].clone(), old[1].clone()];
    for append in [
        Append::to(stream("a-2"), Any, old),
        Append::to(stream("a-1"), Any, [first.clone()]).and_to(
            stream("a-2"),
            Any,
            [second.clone()],
        ),
        Append::to(stream("a-2"), Any, [first]).and_to(stream("a-3"), Any, [second]),
    ] {
        partly_stored(&store.refuses(append).await);
    }
}

/// All ids are stored, but by two appends.
pub(crate) async fn s7_the_ids_of_two_appends_together_are_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let [one, two] = [events("Made", 2), events("Made", 2)];
    store.accepts(Append::to(stream("a-1"), Any, one.clone())).await;
    store.accepts(Append::to(stream("a-1"), Any, two.clone())).await;
    let both = [one.clone(), two.clone()].concat();
    partly_stored(&store.refuses(Append::to(stream("a-1"), Any, both)).await);
    let middle = [one[1..].to_vec(), two[..1].to_vec()].concat();
    partly_stored(&store.refuses(Append::to(stream("a-1"), Any, middle)).await);
}

/// What was refused has left no trace: its ids are free, and it may be appended when it fits.
pub(crate) async fn s7_a_refused_append_may_be_tried_again(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let made = events("Made", 2);
    let refused = Append::to(stream("a-1"), exact(1), made.clone());
    store.conflicts(refused.clone()).await;
    store.accepts(Append::to(stream("a-1"), NoStream, events("Made", 1))).await;
    let first = store.accepts(refused.clone()).await;
    assert_eq!(store.accepts(refused).await, first);
    assert_eq!(store.log().await.len(), 3);
}

fn partly_stored(invalid: &Invalid) {
    assert!(
        matches!(invalid, Invalid::IdsPartlyStored { .. }),
        "must be `IdsPartlyStored`, but: {invalid:?}"
    );
}
