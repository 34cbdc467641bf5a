//! What is enqueued is there once, together with the checkpoint.

use annals_core::{
    Advance, Claim, DeliveryState, Enqueue, NewDelivery, Position, SelectDeliveries,
};

use super::words::{dead, delivery, done, id, in_lane, one, to_recipient, waiting};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{HOSTILE, Probe, at, claim, fenced, invalid, must, name, to};
use crate::storm::together;

pub(in crate::read_side) async fn deliveries_there_are_none_at_first(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let all = SelectDeliveries::all();
    assert_eq!(side.taken("mail", 1, 10).await, []);
    assert_eq!(side.listed(all.clone()).await, []);
    assert_eq!(side.remembered(&id("mail", 1)).await, []);
    assert_eq!(must("a look", side.next_due(&name("mail"))).await, None);
    assert_eq!(must("figures", side.inboxes()).await, []);
    assert_eq!(must("to retry", side.retry(&all, at(1))).await, 0);
    assert_eq!(must("to skip", side.skip(&all, "why", at(1))).await, 0);
    assert_eq!(must("to forget", side.forget(&name("mail"), at(1_000), 10)).await, 0);
    must("to settle nothing", side.settle(Vec::new(), at(1))).await;
    must("to keep nothing", side.keep(&[(id("mail", 1), 1)], at(1))).await;
    assert_eq!(must("nothing", side.enqueue(Enqueue::default(), at(1))).await, 0);
}

pub(in crate::read_side) async fn deliveries_come_as_they_were_enqueued(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let texts = HOSTILE.iter().enumerate();
    let mut deliveries: Vec<_> = texts
        .map(|(number, text)| NewDelivery {
            due_at: at(number as u64),
            ..to_recipient(in_lane("mail", 10 + number as u64, text), text)
        })
        .collect();
    let longest = "\u{e9}".repeat(NewDelivery::NAME_BYTES_MAX / 2);
    deliveries.push(to_recipient(in_lane("mail", 50, &longest), &longest));
    deliveries.push(delivery("mail", Position::END.get()));
    assert_eq!(side.enqueued(deliveries.clone(), 3).await, deliveries.len() as u64);
    let expected: Vec<_> = deliveries.iter().map(|new| waiting(new, at(3))).collect();
    assert_eq!(side.listed(SelectDeliveries::all()).await, expected);
    let taken = side.taken("mail", 100, 100).await;
    assert_eq!(taken.len(), deliveries.len());
    for (delivery, new) in taken.into_iter().zip(deliveries) {
        let found = (delivery.id, delivery.inbox, delivery.event, delivery.recipient);
        assert_eq!(found, (new.id, new.inbox, new.event, new.recipient));
        let found = (delivery.lane, delivery.attempt, delivery.enqueued_at);
        assert_eq!(found, (new.lane, 1, at(3)));
    }
}

pub(in crate::read_side) async fn deliveries_are_enqueued_once(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let all = || (1..=5).map(|position| delivery("mail", position)).collect::<Vec<_>>();
    let twice = all().into_iter().chain(all()).collect();
    assert_eq!(side.enqueued(twice, 0).await, 5);
    let taken = side.taken("mail", 1, 4).await;
    side.settled(done(&taken[0]), 1).await;
    side.settled(dead(&taken[1]), 1).await;
    assert_eq!(must("to skip", side.skip(&one("mail", 5), "why", at(1))).await, 1);
    let before = side.listed(SelectDeliveries::all()).await;
    let states: Vec<_> = before.iter().map(|info| info.state).collect();
    use DeliveryState::{Dead, Done, Skipped, Taken};
    assert_eq!(states, [Done, Dead, Taken, Taken, Skipped]);

    let mut again = all();
    again.iter_mut().for_each(|new| new.due_at = at(50));
    again.push(delivery("mail", 6));
    again.push(to_recipient(delivery("mail", 1), "ada"));
    again.push(delivery("other", 1));
    assert_eq!(side.enqueued(again, 9).await, 3);
    let mut after = side.listed(SelectDeliveries::all()).await;
    after.retain(|info| info.enqueued_at == at(0));
    assert_eq!(after, before);

    let new = together(16, |_| {
        let side = side.clone();
        async move {
            let many = (1..=40).map(|position| delivery("many", position));
            side.enqueued(many.collect(), 0).await
        }
    })
    .await;
    assert_eq!(new.into_iter().sum::<u64>(), 40, "each is new for one of them");
    assert_eq!(side.listed(SelectDeliveries::inbox(name("many"))).await.len(), 40);
}

pub(in crate::read_side) async fn deliveries_and_checkpoints_move_together(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mail = side.working("mail").await;
    let chat = side.working("chat").await;
    let enqueue = |position: u64, leases: [&annals_core::Lease; 2]| Enqueue {
        deliveries: vec![delivery("mail", position), delivery("chat", position)],
        advances: leases.map(|lease| to(lease, position)).into(),
    };
    assert_eq!(must("to enqueue", side.enqueue(enqueue(5, [&mail, &chat]), at(5))).await, 2);
    for inbox in ["mail", "chat"] {
        let part = side.part(inbox).await;
        assert_eq!((part.position, part.events, part.moved_at), (Position::new(5), 1, at(5)));
    }
    let next = side.claimed(Claim { now: at(10), until: at(20), ..claim("chat", "next") }).await;
    let before = (side.status("mail").await, side.status("chat").await);
    fenced("with a lost lease", side.enqueue(enqueue(6, [&mail, &chat]), at(6))).await;
    fenced("with a lost lease", side.enqueue(enqueue(6, [&chat, &mail]), at(6))).await;
    fenced("once more", side.enqueue(enqueue(5, [&mail, &next]), at(6))).await;
    let back = Enqueue { deliveries: vec![delivery("mail", 3)], advances: vec![to(&mail, 3)] };
    fenced("a step back", side.enqueue(back, at(6))).await;
    assert_eq!((side.status("mail").await, side.status("chat").await), before);
    assert_eq!(side.listed(SelectDeliveries::all()).await.len(), 2, "nothing is enqueued");

    assert_eq!(must("to enqueue", side.enqueue(enqueue(6, [&mail, &next]), at(6))).await, 2);
    let still = |lease| Advance { events: 0, ..to(lease, 6) };
    let nothing = Enqueue { deliveries: Vec::new(), advances: vec![still(&mail), still(&next)] };
    assert_eq!(must("nothing", side.enqueue(nothing, at(7))).await, 0);
    let moved = Enqueue { deliveries: Vec::new(), advances: vec![to(&mail, 9)] };
    assert_eq!(must("only to move", side.enqueue(moved, at(9))).await, 0);
    assert_eq!(side.part("mail").await.position, Position::new(9));
}

pub(in crate::read_side) async fn deliveries_with_long_names_are_refused(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lease = side.working("mail").await;
    let before = side.status("mail").await;
    let long = "x".repeat(NewDelivery::NAME_BYTES_MAX + 1);
    for name in [&*long, "nul \0"] {
        let of_lane = in_lane("mail", 2, name);
        let of_recipient = NewDelivery { recipient: Some(name.to_owned()), ..delivery("mail", 2) };
        for wrong in [of_lane, of_recipient] {
            let deliveries = vec![delivery("mail", 1), wrong, delivery("mail", 3)];
            let enqueue = Enqueue { deliveries, advances: vec![to(&lease, 3)] };
            invalid("such a name", side.enqueue(enqueue, at(1))).await;
        }
    }
    assert_eq!(side.listed(SelectDeliveries::all()).await, []);
    assert_eq!(side.status("mail").await, before);
}

pub(in crate::read_side) async fn deliveries_by_the_thousand_are_enqueued(
    backend: &dyn ReadSideBackend,
) {
    const MANY: u64 = 6_000;
    let side = Probe::open(backend).await;
    let lease = side.working("mail").await;
    let many = (1..=MANY).map(|position| in_lane("mail", position, &format!("{}", position % 50)));
    let enqueue = Enqueue { deliveries: many.collect(), advances: vec![to(&lease, MANY)] };
    assert_eq!(must("to enqueue", side.enqueue(enqueue, at(0))).await, MANY);
    assert_eq!(side.listed(SelectDeliveries::all()).await.len() as u64, MANY);
    let heads = side.taken("mail", 1, 1_000).await;
    assert_eq!(heads.len(), 50, "one of each lane");
    let settled = heads.iter().map(done).collect();
    must("to settle", side.settle(settled, at(1))).await;
    assert_eq!(must("to skip", side.skip(&SelectDeliveries::all(), "why", at(2))).await, MANY - 50);
    assert_eq!(must("to forget", side.forget(&name("mail"), at(3), 1_000_000)).await, MANY);
}
