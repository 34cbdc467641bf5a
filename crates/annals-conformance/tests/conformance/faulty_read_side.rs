//! Read sides that are slow still pass the suite; those that fail do so as planned.

use std::sync::Arc;
use std::time::Duration;

use annals_conformance::read_side::{DecoratedReadSide, Faults, Meet, ReadSide};
use annals_conformance::read_side_suite;
use annals_core::error::ReadSideError;
use annals_core::{
    CheckpointStore, Enrol, Limits, MemoryReadSide, OnNewVersion, Position, SubscriberName,
    Timestamp,
};

fn enrol(subscriber: &'static str) -> Enrol {
    Enrol {
        subscriber: SubscriberName::from_static(subscriber),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: Timestamp::EPOCH,
    }
}

fn under(faults: Faults) -> (Arc<dyn ReadSide>, DecoratedReadSide<Faults>) {
    let side: Arc<dyn ReadSide> = Arc::new(MemoryReadSide::new());
    (Arc::clone(&side), DecoratedReadSide::over(side, faults))
}

/// How many calls of three were answered, and how many were made.
async fn three_calls(meet: Meet) -> (usize, usize) {
    let (beneath, faulty) = under(Faults::at(1, meet));
    let mut answered = 0;
    for subscriber in ["a", "b", "c"] {
        let call = faulty.enrol(enrol(subscriber));
        // What is dead never answers, and what is not answers at once.
        tokio::select! {
            biased;
            answer = call => match answer {
                Ok(_) => answered += 1,
                Err(error) => assert!(matches!(error, ReadSideError::Unavailable(_)), "{error:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    let made = beneath.subscribers().await.expect("an answer").len();
    assert_eq!(
        faulty.subscribers().await.expect("an answer").len(),
        made,
        "whoever asks is answered"
    );
    assert_eq!(faulty.decorator().met(), usize::from(meet != Meet::Honestly));
    assert_eq!(faulty.decorator().is_dead(), meet.is_deadly());
    (answered, made)
}

#[tokio::test]
async fn calls_meet_what_is_planned() {
    assert_eq!(three_calls(Meet::Honestly).await, (3, 3));
    assert_eq!(three_calls(Meet::NotAtAll).await, (2, 2));
    assert_eq!(three_calls(Meet::AnswerLost).await, (2, 3));
    assert_eq!(three_calls(Meet::DeadBefore).await, (1, 1));
    assert_eq!(three_calls(Meet::DeadAfter).await, (1, 2));
}

#[tokio::test]
async fn spared_calls_are_honest_and_not_counted() {
    let (_, faulty) = under(Faults::at(0, Meet::NotAtAll).sparing(&["enrol"]));
    faulty.enrol(enrol("a")).await.unwrap();
    faulty.begin_generation(enrol("a")).await.unwrap_err();
}

#[tokio::test]
async fn one_call_in_so_many_fails() {
    let (beneath, faulty) = under(Faults::one_in(4, 1));
    let mut failed = 0;
    for _ in 0..400 {
        failed += usize::from(faulty.enrol(enrol("a")).await.is_err());
    }
    assert_eq!(failed, faulty.decorator().met());
    assert!((50..150).contains(&failed), "{failed} of 400");
    assert_eq!(beneath.subscribers().await.unwrap().len(), 1);
}

mod slow {
    use super::*;

    read_side_suite!(|limits: Limits| async move {
        let slow = Faults::planned(|call| match call % 7 {
            0 => Meet::Delayed(Duration::from_micros(100)),
            _ => Meet::Honestly,
        });
        DecoratedReadSide::over(MemoryReadSide::with(limits), slow)
    });
}
