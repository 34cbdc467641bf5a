//! S6: expected versions and conditions are serialisable, and conflict only when they must.

use std::sync::Arc;

use annals_core::error::{AppendError, Conflict};
use annals_core::{
    Append, AppendCondition, ExpectedVersion, Position, Query, QueryItem, Read, RecordedEvent,
    Version,
};

use crate::Backend;
use crate::probe::{Probe, line};
use crate::storm::{Outcome, storm, together};
use crate::words::{category, event, event_type, events, exact, stream, tag, tagged, typed};

use ExpectedVersion::{Any, Exact, NoStream, StreamExists};

/// Each expected version against streams at 0, 1 and 3, in an append that writes to the stream
/// and in one that only looks at it.
pub(crate) async fn s6_each_expected_version_is_checked(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let wishes = [Any, NoStream, StreamExists, exact(0), exact(1), exact(2), exact(3), exact(4)];
    for found in [0_usize, 1, 3] {
        for (n, wish) in wishes.into_iter().enumerate() {
            for looking in [false, true] {
                let name = stream(format!("at{found}-{n}-{looking}"));
                if found > 0 {
                    store.accepts(Append::to(name.clone(), Any, events("Made", found))).await;
                }
                let append = if looking {
                    Append::to(stream(format!("aside-{name}")), Any, events("Made", 1)).and_to(
                        name.clone(),
                        wish,
                        [],
                    )
                } else {
                    Append::to(name.clone(), wish, events("Made", 1))
                };
                let found = Version::new(found as u64);
                if wish.accepts(found) {
                    let receipt = store.accepts(append).await;
                    let version = (!looking).then(|| found.next());
                    assert_eq!(receipt.version_of(&name), version, "{wish} of a stream at {found}");
                } else {
                    let conflict = store.conflicts(append).await;
                    let (stream, expected) = (name, wish);
                    match &conflict {
                        Conflict::Version { stream: s, expected: e, found: f } => {
                            assert_eq!((s, *e, *f), (&stream, expected, found));
                        }
                        other => panic!("a conflict of versions must say so, but: {other:?}"),
                    }
                }
            }
        }
    }
}

pub(crate) async fn s6_no_stream_has_one_winner(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for round in 0..4 {
        let name = stream(format!("a-{round}"));
        let target = name.clone();
        let outcomes = storm(&store, 16, 1, move |_, _| {
            Append::to(target.clone(), NoStream, events("Made", 2))
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "of 16 that expected no stream");
        for conflict in outcomes.iter().filter_map(conflict) {
            match conflict {
                Conflict::Version { stream, expected: NoStream, found } => {
                    assert_eq!((stream, found.get()), (&name, 2));
                }
                other => panic!("the losers must hear of the version, but: {other:?}"),
            }
        }
    }
    assert_eq!(store.log().await.len(), 8);
}

/// Sixteen writers climb a stream, each trying every version in turn.
pub(crate) async fn s6_each_version_has_one_winner(backend: &dyn Backend) {
    const VERSIONS: usize = 8;
    let store = Probe::open(backend).await;
    let outcomes = storm(&store, 16, VERSIONS, |_, number| {
        Append::to(stream("a-1"), exact(number as u64), events("Made", 1))
    })
    .await;
    assert_eq!(winners(&outcomes), VERSIONS, "one winner for each of {VERSIONS} versions");
    for conflict in outcomes.iter().filter_map(conflict) {
        match conflict {
            Conflict::Version { expected: Exact(expected), found, .. } => {
                assert!(found > expected, "{conflict:?} is no conflict");
            }
            other => panic!("the losers must hear of the version, but: {other:?}"),
        }
    }
    assert_eq!(store.log().await.len(), VERSIONS);
}

/// Counters that are read, raised and written back at the version read: no count is lost.
pub(crate) async fn s6_retrying_writers_lose_no_update(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    together(6, |_| {
        let store = store.clone();
        async move {
            for _ in 0..4 {
                loop {
                    let history = store.read(Read::stream(stream("counter-1"))).await;
                    let count: u64 = history.last().map_or(0, counted);
                    let mut counted = event("Counted");
                    counted.data = annals_core::Data::json((count + 1).to_string());
                    let expected = exact(history.len() as u64);
                    let append = Append::to(stream("counter-1"), expected, [counted]);
                    match store.append(&append).await {
                        Ok(_) => break,
                        Err(AppendError::Conflict(_)) => {}
                        Err(error) => panic!("only conflicts may come, but: {error:?}"),
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(store.log().await.last().map(counted), Some(24));
}

fn counted(event: &RecordedEvent) -> u64 {
    let text = std::str::from_utf8(&event.data.bytes).expect("the case wrote a number");
    text.parse().expect("the case wrote a number")
}

/// Every way to name an event in a condition finds it, and says where it is.
pub(crate) async fn s6_each_kind_of_condition_is_checked(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("noise-1"), Any, events("Noise", 3))).await;
    let subscribed = event("Subscribed").tagged(tag("course:c1")).tagged(tag("student:s1"));
    let receipt = store.accepts(Append::to(stream("course-c1"), Any, [subscribed])).await;
    store.accepts(Append::to(stream("noise-1"), Any, events("Noise", 3))).await;
    let item = QueryItem::new;
    let queries = [
        typed(["Subscribed"]),
        typed(["Unheard", "Subscribed"]),
        tagged(["course:c1"]),
        tagged(["student:s1", "course:c1"]),
        Query::of(item().category(category("course"))),
        Query::of(item().category(category("unheard")).stream(stream("course-c1"))),
        Query::stream(stream("course-c1")),
        Query::of(item().event_type(event_type("Subscribed")).tag(tag("student:s1"))),
        Query::of(
            item()
                .event_type(event_type("Subscribed"))
                .tag(tag("student:s1"))
                .category(category("course")),
        ),
        typed(["Unheard"]).or(item().tag(tag("course:c1"))),
    ];
    for (n, query) in queries.into_iter().enumerate() {
        for after in [Position::START, before(receipt.first_position)] {
            let condition = AppendCondition::none_match_after(query.clone(), after);
            let doomed = Append::to(stream("other-1"), Any, events("Made", 1));
            let conflict = store.conflicts(doomed.only_if(condition.clone())).await;
            match conflict {
                Conflict::Condition { condition: named, found } => {
                    assert_eq!((named, found), (condition, receipt.first_position));
                }
                other => panic!("a conflict of conditions must say so, but: {other:?}"),
            }
        }
        let condition = AppendCondition::none_match_after(query, receipt.last_position);
        let fine = Append::to(stream(format!("fine-{n}")), NoStream, events("Made", 1));
        store.accepts(fine.only_if(condition)).await;
    }
}

fn before(position: Position) -> Position {
    Position::new(position.get() - 1)
}

/// Whatever nearly matches is no reason to conflict.
pub(crate) async fn s6_near_misses_do_not_conflict(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let append = Append::to(
        stream("course-c1"),
        Any,
        [
            event("Subscribed").tagged(tag("course:c1")).tagged(tag("student:s1")),
            event("Renamed").tagged(tag("course:c2")),
        ],
    );
    store.accepts(append).await;
    let item = QueryItem::new;
    let queries = [
        Query::default(),
        typed(["subscribed"]),
        typed(["Subscribe"]),
        tagged(["course:c"]),
        tagged(["course:c1", "student:s2"]),
        tagged(["course:c1", "course:c2"]),
        Query::of(item().category(category("courses"))),
        Query::of(item().category(category("cours"))),
        Query::stream(stream("course-c")),
        Query::stream(stream("course")),
        Query::of(item().event_type(event_type("Renamed")).tag(tag("course:c1"))),
        Query::of(item().event_type(event_type("Renamed")).stream(stream("course-c2"))),
        Query::of(item().tag(tag("course:c1")).category(category("student"))),
    ];
    for (n, query) in queries.into_iter().enumerate() {
        let append = Append::to(stream(format!("fine-{n}")), NoStream, events("Made", 1));
        store.accepts(append.only_if(AppendCondition::none_match(query))).await;
    }
}

/// Conditions speak of what is stored, not of what the append itself brings.
pub(crate) async fn s6_an_append_does_not_conflict_with_itself(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let append = Append::to(stream("a-1"), NoStream, events("Made", 2))
        .and_to(stream("a-2"), NoStream, events("Made", 1))
        .only_if(AppendCondition::none_match(typed(["Made"])))
        .only_if(AppendCondition::none_match(Query::all()));
    store.accepts(append).await;
}

pub(crate) async fn s6_every_condition_of_several_counts(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("a-1"), Any, [event("Made").tagged(tag("a:1"))])).await;
    let free = || AppendCondition::none_match(tagged(["a:2"]));
    let broken = AppendCondition::none_match(tagged(["a:1"]));
    for place in 0..3 {
        let mut append = Append::to(stream("b-1"), Any, events("Made", 1));
        for n in 0..3 {
            append = append.only_if(if n == place { broken.clone() } else { free() });
        }
        match store.conflicts(append).await {
            Conflict::Condition { condition, .. } => assert_eq!(condition, broken),
            other => panic!("a conflict of conditions must say so, but: {other:?}"),
        }
    }
    let append = Append::to(stream("b-1"), Any, events("Made", 1));
    store.accepts(append.only_if(free()).only_if(free())).await;
}

pub(crate) async fn s6_a_condition_has_one_winner(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for round in 0..4 {
        let seat = format!("seat:{round}");
        let query = tagged([seat.as_str()]);
        let outcomes = storm(&store, 16, 1, move |writer, _| {
            let taken = event("SeatTaken").tagged(tag(&seat));
            Append::to(stream(format!("guest-{writer}")), Any, [taken])
                .only_if(AppendCondition::none_match(tagged([seat.as_str()])))
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "of 16 that wanted the same seat");
        let taken = store.read(Read::query(query)).await;
        assert_eq!(taken.len(), 1);
        for conflict in outcomes.iter().filter_map(conflict) {
            match conflict {
                Conflict::Condition { found, .. } => assert_eq!(*found, taken[0].position),
                other => panic!("the losers must hear of the condition, but: {other:?}"),
            }
        }
    }
}

/// Two doctors are on call and each may leave while another stays. Each decides on what the
/// other writes; if both may leave, the store has let write skew through.
pub(crate) async fn s6_write_skew_over_conditions_is_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for night in 0..8 {
        let night_tag = format!("night:{night}");
        let on_call = tagged([night_tag.as_str()]);
        let took = |n: usize| {
            let on = event("WentOnCall").tagged(tag(&night_tag));
            Append::to(stream(format!("doctor-{night}x{n}")), Any, [on])
        };
        store.accepts(took(0)).await;
        let seen = store.accepts(took(1)).await.last_position;
        let outcomes = storm(&store, 2, 1, move |doctor, _| {
            let left = event("LeftCall").tagged(tag(&night_tag));
            Append::to(stream(format!("doctor-{night}x{doctor}")), exact(1), [left])
                .only_if(AppendCondition::none_match_after(on_call.clone(), seen))
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "of two doctors one may leave in night {night}");
    }
}

/// The same bait laid with expected versions: each looks at the other's stream and writes to its
/// own.
pub(crate) async fn s6_write_skew_over_versions_is_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for night in 0..8 {
        let doctor = move |n: usize| stream(format!("doctor-{night}x{n}"));
        let on = Append::to(doctor(0), NoStream, events("WentOnCall", 1)).and_to(
            doctor(1),
            NoStream,
            events("WentOnCall", 1),
        );
        store.accepts(on).await;
        let outcomes = storm(&store, 2, 1, move |n, _| {
            Append::to(doctor(n), exact(1), events("LeftCall", 1)).and_to(
                doctor(1 - n),
                exact(1),
                [],
            )
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "of two doctors one may leave in night {night}");
    }
}

/// Half of the appends must lose, and run beside appends that have no reason to.
pub(crate) async fn s6_losers_do_not_harm_their_neighbours(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let seen = store.accepts(Append::to(stream("a-1"), NoStream, events("Made", 1))).await;
    let outcomes = storm(&store, 32, 4, move |writer, number| {
        let own = stream(format!("own-{writer}"));
        match writer % 4 {
            0 => Append::to(stream("a-1"), NoStream, events("Made", 1)),
            1 => Append::to(own, exact(number as u64), events("Doomed", 1))
                .only_if(AppendCondition::none_match(typed(["Made"]))),
            2 => Append::to(own, exact(number as u64), events("Fine", 1)),
            _ => Append::to(own, Any, events("Fine", 1))
                .and_to(stream("a-1"), StreamExists, [])
                .only_if(AppendCondition::none_match_after(typed(["Made"]), seen.last_position)),
        }
    })
    .await;
    for (n, outcome) in outcomes.iter().enumerate() {
        if n / 4 % 4 < 2 {
            assert!(conflict(outcome).is_some(), "must conflict, but: {:?}", outcome.result);
        } else {
            outcome.receipt();
        }
    }
    let fine = store.read(Read::query(typed(["Fine"]))).await;
    assert_eq!(fine.len(), 64);
    assert_eq!(store.log().await.len(), 65);
}

/// Appends that do not touch what the others ask about all succeed, however many run at once.
pub(crate) async fn s6_unrelated_appends_never_conflict(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("shared-1"), Any, events("Made", 1))).await;
    let last_seen = Arc::new(store.head().await);
    let outcomes = storm(&store, 32, 3, move |writer, number| {
        let own = format!("owner:{writer}");
        let made = event("Made").tagged(tag(&own));
        match number {
            0 => Append::to(stream("shared-1"), StreamExists, [made])
                .only_if(AppendCondition::none_match(tagged([own.as_str()]))),
            1 => Append::to(stream(format!("own-{writer}")), NoStream, [made]).and_to(
                stream("shared-1"),
                Any,
                [],
            ),
            _ => Append::to(stream(format!("own-{writer}")), exact(1), [made]).only_if(
                AppendCondition::none_match_after(tagged([own.as_str(), "never:1"]), *last_seen),
            ),
        }
    })
    .await;
    for outcome in &outcomes {
        outcome.receipt();
    }
    store.log().await;
}

/// The conflict of an append over many streams names the stream that is at fault.
pub(crate) async fn s6_a_conflict_names_the_stream_at_fault(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("c-1"), Any, events("Made", 2))).await;
    let append = Append::to(stream("a-1"), NoStream, events("Made", 1))
        .and_to(stream("c-1"), exact(1), events("Made", 1))
        .and_to(stream("b-1"), Any, events("Made", 1));
    match store.conflicts(append).await {
        Conflict::Version { stream: name, expected, found } => {
            assert_eq!((name, expected, found.get()), (stream("c-1"), exact(1), 2));
        }
        other => panic!("a conflict of versions must say so, but: {other:?}"),
    }
}

/// Racing decisions over one query, each deciding again when it lost: the outcome is one of
/// those that come of deciding one after the other.
pub(crate) async fn s6_deciding_again_ends_as_if_one_by_one(backend: &dyn Backend) {
    const SEATS: usize = 5;
    let store = Probe::open(backend).await;
    let booked = together(8, |guest| {
        let store = store.clone();
        async move {
            loop {
                let query = typed(["Booked"]);
                let history = store.read(Read::query(query.clone())).await;
                if history.len() >= SEATS {
                    return false;
                }
                let last = history.last().map_or(Position::START, |event| event.position);
                let append =
                    Append::to(stream(format!("guest-{guest}")), NoStream, [event("Booked")])
                        .only_if(AppendCondition::none_match_after(query, last));
                match store.append(&append).await {
                    Ok(_) => return true,
                    Err(AppendError::Conflict(_)) => {}
                    Err(error) => panic!("only conflicts may come, but: {error:?}"),
                }
            }
        }
    })
    .await;
    let booked = booked.into_iter().filter(|booked| *booked).count();
    let log = store.log().await;
    let lines: Vec<_> = log.iter().map(line).collect();
    assert_eq!((booked, log.len()), (SEATS, SEATS), "{lines:#?}");
}

/// How many succeeded; all others must have conflicted.
fn winners(outcomes: &[Outcome]) -> usize {
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.result.is_ok());
    for outcome in lost {
        assert!(
            conflict(outcome).is_some(),
            "who does not win must conflict, but: {:?}",
            outcome.result
        );
    }
    won.len()
}

fn conflict(outcome: &Outcome) -> Option<&Conflict> {
    match &outcome.result {
        Err(AppendError::Conflict(conflict)) => Some(conflict),
        _ => None,
    }
}
