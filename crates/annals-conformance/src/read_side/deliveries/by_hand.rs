//! People look at deliveries, have them tried again, or decide that they are not made.

use annals_core::{Attempt, DeliveryId, DeliveryInfo, DeliveryState, InboxInfo, SelectDeliveries};

use super::words::{
    HIDDEN, again, attempt, dead, delivery, done, given_back, id, in_lane, one, to_recipient,
};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, must, name};
use crate::words::{event_type, stream};

use DeliveryState::{Dead, Done, Skipped, Taken, Waiting};

/// One delivery in each state that there is, and the attempts of those that failed.
async fn one_of_each(side: &Probe, inbox: &str) {
    side.put((1..=7).map(|position| delivery(inbox, position))).await;
    let taken = side.taken(inbox, 1, 6).await;
    side.settled(done(&taken[0]), 2).await;
    side.settled(dead(&taken[1]), 2).await;
    side.settled(again(&taken[2], 500), 2).await;
    side.settled(given_back(&taken[3], 500), 2).await;
    side.settled(dead(&taken[4]), 2).await;
    assert_eq!(must("to skip", side.skip(&one(inbox, 5), "first", at(3))).await, 1);
    let states: Vec<_> = side.listed(of(inbox)).await.iter().map(|info| info.state).collect();
    assert_eq!(states, [Done, Dead, Waiting, Waiting, Skipped, Taken, Waiting]);
}

fn of(inbox: &str) -> SelectDeliveries {
    SelectDeliveries::inbox(name(inbox))
}

fn positions(infos: &[DeliveryInfo]) -> Vec<u64> {
    infos.iter().map(|info| info.event.position.get()).collect()
}

pub(in crate::read_side) async fn deliveries_retried_are_due_at_once(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    one_of_each(&side, "mail").await;
    one_of_each(&side, "chat").await;
    let (mail, chat) = (side.listed(of("mail")).await, side.listed(of("chat")).await);
    assert_eq!(must("to retry", side.retry(&of("mail"), at(5))).await, 2);
    let after = side.listed(of("mail")).await;
    for (before, after) in mail.into_iter().zip(after) {
        let failed = [2, 3].contains(&before.event.position.get());
        let anew = DeliveryInfo { state: Waiting, attempts: 0, due_at: at(5), ..before.clone() };
        assert_eq!(after, if failed { anew } else { before });
    }
    assert_eq!(side.listed(of("chat")).await, chat);
    let taken = side.taken("mail", 5, 2).await;
    assert_eq!(super::words::positions(&taken), [2, 3]);
    assert!(taken.iter().all(|taken| taken.attempt == 1), "they are counted anew: {taken:?}");
    let remembered = side.remembered(&id("mail", 2)).await;
    assert_eq!(remembered.len(), 1, "what was before is remembered: {remembered:?}");
    side.settled(again(&taken[0], 6), 5).await;
    let second = attempt(&taken[0], Some("try again"));
    assert_eq!(side.remembered(&id("mail", 2)).await[1..], [second]);
    assert_eq!(must("to retry", side.retry(&one("mail", 1), at(5))).await, 0, "it is made");
    assert_eq!(must("to retry", side.retry(&one("mail", 3), at(5))).await, 0, "it is taken");
}

pub(in crate::read_side) async fn deliveries_skipped_remember_why(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    one_of_each(&side, "mail").await;
    one_of_each(&side, "chat").await;
    let (mail, chat) = (side.listed(of("mail")).await, side.listed(of("chat")).await);
    assert_eq!(must("to skip", side.skip(&of("mail"), "ada: obsolete", at(5))).await, 4);
    for (before, after) in mail.into_iter().zip(side.listed(of("mail")).await) {
        if [Waiting, Dead].contains(&before.state) {
            assert_eq!((after.state, after.skipped.as_deref()), (Skipped, Some("ada: obsolete")));
            assert_eq!(after.last_error, before.last_error);
        } else {
            assert_eq!(after, before);
        }
    }
    assert_eq!(side.listed(of("chat")).await, chat);
    assert_eq!(side.info("mail", 5).await.skipped.as_deref(), Some("first"));
    assert_eq!(side.takes("mail", 10_000).await, [6], "the others are not made");
    assert_eq!(must("to retry", side.retry(&of("mail"), at(6))).await, 0);
    assert_eq!(side.remembered(&id("mail", 2)).await.len(), 1, "it was tried");
}

pub(in crate::read_side) async fn deliveries_are_selected_by_each_criterion(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    one_of_each(&side, "mail").await;
    one_of_each(&side, "chat").await;
    let recipients = ["ada", "ad%", "ADA", ""];
    side.put(recipients.map(|to| to_recipient(delivery("hook", 4), to))).await;
    side.put([to_recipient(delivery("hook", 7), "ada")]).await;
    let everything = side.listed(SelectDeliveries::all()).await;
    assert_eq!(everything.len(), 19);
    let all = SelectDeliveries::all;
    let of_ada = DeliveryId::new(&name("hook"), delivery("hook", 4).event.id, Some("ada"));
    let cases = [
        (all(), 19),
        (one("mail", 3), 1),
        (one("mail", 8), 0),
        (SelectDeliveries::one(of_ada), 1),
        (of("chat"), 7),
        (of("none"), 0),
        (all().state(Waiting), 11),
        (all().state(Taken), 2),
        (all().state(Dead), 2),
        (all().state(Done), 2),
        (all().state(Skipped), 2),
        (all().event_type(event_type("Odd")), 9),
        (all().event_type(event_type("odd")), 0),
        (all().stream(stream("order-1")), 11),
        (all().recipient("ada"), 2),
        (all().recipient("ad%"), 1),
        (all().recipient(""), 1),
        (of("mail").state(Waiting).event_type(event_type("Odd")), 2),
        (of("mail").state(Waiting).stream(stream("order-1")).event_type(event_type("Even")), 1),
        (of("hook").recipient("ada").stream(stream("order-1")), 2),
        (of("mail").recipient("ada"), 0),
    ];
    for (which, count) in cases {
        let found = side.listed(which.clone()).await;
        assert_eq!(found.len(), count, "{which:?}: {found:?}");
        let expected: Vec<_> = everything.iter().filter(|info| which.selects(info)).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{which:?}");
    }
    // The same criteria hold for what is done to them.
    let odd = of("mail").event_type(event_type("Odd")).state(Waiting);
    assert_eq!(must("to retry", side.retry(&odd, at(5))).await, 1);
    assert_eq!(must("to skip", side.skip(&odd.stream(stream("order-0")), "why", at(5))).await, 1);
    assert_eq!(must("to skip", side.skip(&of("hook").recipient("ada"), "why", at(5))).await, 2);
    let behind = of("chat").after(delivery("chat", 3).event.position, id("chat", 3));
    assert_eq!(must("to skip", side.skip(&behind, "why", at(5))).await, 2);
    assert_eq!(side.state("chat", 3).await, Waiting);
    assert_eq!(must("to skip", side.skip(&all().state(Dead), "why", at(5))).await, 2);
    assert_eq!(must("to skip", side.skip(&all().state(Taken), "why", at(5))).await, 0);
}

pub(in crate::read_side) async fn deliveries_are_listed_in_pages(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    for position in [5, 100, 20, 3] {
        let to = |to| to_recipient(delivery("mail", position), to);
        side.put([to("b"), to("B"), to("a"), delivery("mail", position)]).await;
        side.put([delivery("chat", position)]).await;
    }
    let everything = side.listed(SelectDeliveries::all()).await;
    let keys = |infos: &[DeliveryInfo]| {
        infos.iter().map(|info| (info.event.position, info.id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(everything.len(), 20);
    assert!(keys(&everything).is_sorted(), "by position and then by id: {everything:?}");
    for limit in [1, 3, 20, 21] {
        let mut found: Vec<DeliveryInfo> = Vec::new();
        loop {
            let mut which = SelectDeliveries::all();
            if let Some(last) = found.last() {
                which = which.after(last.event.position, last.id.clone());
            }
            let page = must("a page", side.deliveries(&which, limit)).await;
            assert!(page.len() <= limit, "at most {limit} are asked for: {page:?}");
            if page.is_empty() {
                break;
            }
            found.extend(page);
            assert!(found.len() <= everything.len(), "there are fewer");
        }
        assert_eq!(found, everything, "by {limit}");
    }
    let none = must("a page", side.deliveries(&SelectDeliveries::all(), 0)).await;
    assert_eq!(none, []);
    let chat = must("a page", side.deliveries(&of("chat"), 2)).await;
    assert_eq!(positions(&chat), [3, 5]);
}

pub(in crate::read_side) async fn deliveries_are_counted_by_inbox(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.put([delivery("over", 1), delivery("over", 2)]).await;
    let taken = side.taken("over", 0, 1).await;
    side.settled(done(&taken[0]), 0).await;
    must("to skip", side.skip(&one("over", 2), "why", at(0))).await;
    side.enrolled("empty", 1).await;
    one_of_each(&side, "mail").await;
    side.put([delivery("Dead", 1)]).await;
    let taken = side.takes_one("Dead", 0).await;
    side.settled(dead(&taken), 0).await;
    // A lane changes nothing about who waits.
    assert_eq!(side.enqueued(vec![in_lane("late", 1, "l"), in_lane("late", 2, "l")], 7).await, 2);
    assert_eq!(side.enqueued(vec![in_lane("late", 3, "l")], 5).await, 1);
    let mail = InboxInfo {
        inbox: name("mail"),
        waiting: 2,
        retrying: 1,
        taken: 1,
        dead: 1,
        oldest: Some(at(0)),
    };
    let none =
        InboxInfo { waiting: 0, retrying: 0, taken: 0, dead: 0, oldest: None, ..mail.clone() };
    let dead = InboxInfo { inbox: name("Dead"), dead: 1, ..none.clone() };
    let late = InboxInfo { inbox: name("late"), waiting: 3, oldest: Some(at(5)), ..none.clone() };
    assert_eq!(must("figures", side.inboxes()).await, [dead, late.clone(), mail.clone()]);
    must("to retry", side.retry(&of("mail"), at(9))).await;
    must("to skip", side.skip(&SelectDeliveries::one(id("Dead", 1)), "why", at(9))).await;
    let mail = InboxInfo { waiting: 4, retrying: 0, dead: 0, ..mail };
    assert_eq!(must("figures", side.inboxes()).await, [late, mail]);
}

pub(in crate::read_side) async fn deliveries_that_are_over_are_forgotten(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mail = name("mail");
    one_of_each(&side, "mail").await;
    one_of_each(&side, "chat").await;
    let of_others = side.listed(of("chat")).await;
    let before = side.listed(of("mail")).await;
    assert_eq!(
        must("to forget", side.forget(&mail, at(2), 99)).await,
        0,
        "they are as old as that"
    );
    assert_eq!(must("to forget", side.forget(&mail, at(1_000), 0)).await, 0);
    assert_eq!(side.listed(of("mail")).await, before);
    // The first was made at 2, the fifth skipped at 3.
    assert_eq!(must("to forget", side.forget(&mail, at(3), 99)).await, 1);
    assert_eq!(positions(&side.listed(of("mail")).await), [2, 3, 4, 5, 6, 7]);
    assert_eq!(must("to forget", side.forget(&mail, at(1_000), 99)).await, 1);
    assert_eq!(positions(&side.listed(of("mail")).await), [2, 3, 4, 6, 7]);
    assert_eq!(side.remembered(&id("mail", 5)).await, [] as [Attempt; 0]);
    assert_eq!(must("to forget", side.forget(&mail, at(1_000), 99)).await, 0);

    assert_eq!(side.enqueued(vec![delivery("mail", 5), delivery("mail", 2)], 50).await, 1);
    let anew = side.info("mail", 5).await;
    assert_eq!((anew.state, anew.attempts, anew.skipped), (Waiting, 0, None));
    must("to skip", side.skip(&of("mail"), "why", at(60))).await;
    let swept = must("to forget", side.forget(&mail, at(61), 2)).await;
    assert_eq!(swept, 2, "at most so many");
    let taken = side.takes("mail", 60 + HIDDEN).await;
    assert_eq!(taken, [6]);
    assert_eq!(side.listed(of("chat")).await, of_others);
    assert_eq!(must("to forget", side.forget(&name("nobody"), at(1_000), 99)).await, 0);
}
