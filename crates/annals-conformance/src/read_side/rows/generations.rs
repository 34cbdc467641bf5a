//! Rows of generations and subscribers stay apart, and are swept when they are not needed.

use annals_core::{Claim, Generation, Lease, RowChange, RowKey};

use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, claim, gone, must, name, same_rows, to, written};

/// Begins a generation beside the active one, and claims it.
async fn building(side: &Probe) -> Lease {
    let generation = side.begun("a").await;
    side.claimed(Claim { generation, ..claim("a", "builder") }).await
}

async fn commit(side: &Probe, lease: &Lease, position: u64, changes: Vec<RowChange>) {
    must("to commit", side.commit_rows(changes, &to(lease, position))).await;
}

pub(in crate::read_side) async fn rows_of_subscribers_stay_apart(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    for (number, subscriber) in ["a", "A", "ab", "a-b"].iter().enumerate() {
        let lease = side.working(subscriber).await;
        let value = number.to_string();
        commit(&side, &lease, 1, vec![written("x", &value), written(*subscriber, &value)]).await;
    }
    let a = side.claimed(claim("a", "owner")).await;
    commit(&side, &a, 2, vec![gone("x"), gone("ab")]).await;
    same_rows(&side.all_rows("a").await, &[("a", "0")]);
    same_rows(&side.all_rows("A").await, &[("A", "1"), ("x", "1")]);
    same_rows(&side.all_rows("ab").await, &[("ab", "2"), ("x", "2")]);
    assert_eq!(must("a row", side.row(&name("a"), &"x".into())).await, None);
}

pub(in crate::read_side) async fn rows_read_are_the_active_generations(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let old = side.working("a").await;
    commit(&side, &old, 1, vec![written("x", "1"), written("y", "1")]).await;
    let new = building(&side).await;
    let keys: Vec<RowKey> = ["z", "x", "none", "y"].map(RowKey::new).into();
    assert_eq!(must("rows", side.rows_of(&new, &keys)).await, [], "it begins with none");
    commit(&side, &new, 1, vec![written("x", "2"), written("z", "2")]).await;
    commit(&side, &old, 2, vec![written("y", "3")]).await;

    same_rows(&side.all_rows("a").await, &[("x", "1"), ("y", "3")]);
    same_rows(&side.sorted_rows_of(&old, &keys).await, &[("x", "1"), ("y", "3")]);
    same_rows(&side.sorted_rows_of(&new, &keys).await, &[("x", "2"), ("z", "2")]);
    same_rows(&side.sorted_rows_of(&new, &keys[..1]).await, &[("z", "2")]);
    let row = must("a row", side.row(&name("a"), &"x".into())).await;
    same_rows(row.as_slice(), &[("x", "1")]);

    commit(&side, &new, 2, Vec::new()).await;
    side.activated("a", new.generation).await;
    same_rows(&side.all_rows("a").await, &[("x", "2"), ("z", "2")]);
    assert_eq!(must("a row", side.row(&name("a"), &"y".into())).await, None);
    commit(&side, &new, 3, vec![written("y", "4")]).await;
    same_rows(&side.all_rows("a").await, &[("x", "2"), ("y", "4"), ("z", "2")]);
}

pub(in crate::read_side) async fn rows_of_a_generation_that_is_gone_do_not_come_again(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.working("a").await;
    for _ in 0..3 {
        let lease = building(&side).await;
        let keys = ["x".into()];
        assert_eq!(must("rows", side.rows_of(&lease, &keys)).await, []);
        commit(&side, &lease, 1, vec![written("x", "1")]).await;
        must("to discard", side.discard(&name("a"), lease.generation)).await;
    }
    let lease = building(&side).await;
    side.activated("a", lease.generation).await;
    assert_eq!(side.all_rows("a").await, []);
}

pub(in crate::read_side) async fn rows_nobody_needs_are_swept(backend: &dyn ReadSideBackend) {
    const MANY: usize = 250;
    let side = Probe::open(backend).await;
    let many = || (0..MANY).map(|number| written(format!("{number:03}"), "1")).collect::<Vec<_>>();
    let other = side.working("b").await;
    commit(&side, &other, 1, many()).await;
    let gone = side.working("a").await;
    commit(&side, &gone, 1, many()).await;
    let active = building(&side).await;
    commit(&side, &active, 1, many()).await;
    side.activated("a", active.generation).await;
    let new = building(&side).await;
    commit(&side, &new, 1, many()).await;

    let mut swept = 0;
    let keep = [Generation::FIRST];
    assert_eq!(must("a sweep", side.sweep_rows(&name("a"), &keep, 1_000)).await, 0, "it is kept");
    loop {
        // What is active or being built need not be named.
        let now = must("a sweep", side.sweep_rows(&name("a"), &[], 100)).await;
        assert!(now <= 100, "at most 100 are asked for, but {now} swept");
        swept += now;
        if now == 0 {
            break;
        }
        assert!(swept <= MANY, "{swept} rows are swept, and there were {MANY}");
    }
    assert_eq!(side.all_rows("a").await.len(), MANY);
    assert_eq!(side.all_rows("b").await.len(), MANY);
    let keys: Vec<RowKey> = many().into_iter().map(|change| change.key).collect();
    assert_eq!(must("rows", side.rows_of(&new, &keys)).await.len(), MANY);
    assert_eq!(must("rows", side.rows_of(&gone, &keys)).await, [], "they are swept");
    assert_eq!(must("a sweep", side.sweep_rows(&name("nobody"), &[], 100)).await, 0);
}
