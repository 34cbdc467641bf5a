//! Rows and the checkpoint move together, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::error::ReadSideError;
use annals_core::{Advance, Claim, Limits, ListRows, Position, RowChange, RowKey};

use crate::probe::within;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{
    HOSTILE, Probe, at, claim, fenced, gone, invalid, must, name, parked, same_rows, to, written,
};
use crate::storm::together;

pub(in crate::read_side) async fn rows_there_are_none_at_first(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let all = ListRows { limit: 10, ..ListRows::default() };
    for enrolled in [false, true] {
        if enrolled {
            let lease = side.working("a").await;
            assert_eq!(must("rows", side.rows_of(&lease, &["k".into()])).await, []);
            assert_eq!(must("rows", side.rows_of(&lease, &[])).await, []);
            must("taking away nothing", side.commit_rows(vec![gone("k")], &to(&lease, 1))).await;
        }
        assert_eq!(must("a row", side.row(&name("a"), &"k".into())).await, None);
        assert_eq!(must("rows", side.rows(&name("a"), all.clone())).await, []);
        assert_eq!(must("a sweep", side.sweep_rows(&name("a"), &[], 10)).await, 0);
    }
}

pub(in crate::read_side) async fn rows_come_back_as_they_were_written(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    let mut values = vec![
        r#"{"b":1,"a":[true,false,null],"c":{}}"#.to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "0.1".to_owned(),
        u64::MAX.to_string(),
        i64::MIN.to_string(),
        r#""\u0000 \ud83e\udd80""#.to_owned(),
        format!(r#"{{"long":"{}"}}"#, "x".repeat(100_000)),
    ];
    values.extend(HOSTILE.iter().map(|text| serde_json::json!({ *text: text }).to_string()));
    let rows: Vec<_> = values.iter().enumerate().map(|(n, v)| (format!("{n:02}"), v)).collect();
    let changes = rows.iter().map(|(key, value)| written(key, value.as_str())).collect();
    must("to commit", side.commit_rows(changes, &to(&lease, 1))).await;
    let expected: Vec<_> = rows.iter().map(|(key, value)| (&**key, value.as_str())).collect();
    same_rows(&side.all_rows("a").await, &expected);
    for (key, value) in expected {
        let row = must("a row", side.row(&name("a"), &key.into())).await;
        same_rows(row.as_slice(), &[(key, value)]);
    }
}

pub(in crate::read_side) async fn rows_and_the_checkpoint_move_together(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    let first = vec![written("x", "1"), written("y", "1"), written("z", "1")];
    must("to fail", side.fail(&lease, crate::read_side::probe::failure("broken"))).await;
    must("to commit", side.commit_rows(first, &Advance { events: 3, ..to(&lease, 4) })).await;
    let part = side.part("a").await;
    let moved = (part.position, part.events, part.moved_at, part.failure);
    assert_eq!(moved, (Position::new(4), 3, at(4), None));
    same_rows(&side.all_rows("a").await, &[("x", "1"), ("y", "1"), ("z", "1")]);

    let second = vec![written("w", "2"), written("y", "2"), gone("z"), gone("never")];
    let aside = Advance { parked: vec![parked(5, "poison")], ..to(&lease, 6) };
    must("to commit", side.commit_rows(second, &aside)).await;
    same_rows(&side.all_rows("a").await, &[("w", "2"), ("x", "1"), ("y", "2")]);
    assert_eq!(must("what is parked", side.parked(&name("a"), 9)).await, [parked(5, "poison")]);

    // Of several changes of one row the last stands.
    let third = vec![written("v", "1"), gone("v"), written("x", "3"), written("x", "4"), gone("w")];
    must("to commit", side.commit_rows(third, &to(&lease, 7))).await;
    same_rows(&side.all_rows("a").await, &[("x", "4"), ("y", "2")]);
    must("only to move", side.commit_rows(Vec::new(), &to(&lease, 8))).await;
    same_rows(&side.all_rows("a").await, &[("x", "4"), ("y", "2")]);
    assert_eq!(side.part("a").await.position, Position::new(8));
}

pub(in crate::read_side) async fn rows_of_a_lost_lease_are_not_written(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lost = side.working("a").await;
    must("to commit", side.commit_rows(vec![written("x", "1")], &to(&lost, 1))).await;
    let lease = side.claimed(Claim { now: at(10), until: at(20), ..claim("a", "next") }).await;
    let before = side.status("a").await;
    let late = || vec![written("x", "2"), written("y", "2")];
    fenced("a late commit", side.commit_rows(late(), &to(&lost, 2))).await;
    assert_eq!(side.status("a").await, before);
    same_rows(&side.all_rows("a").await, &[("x", "1")]);
    must("the owner goes on", side.commit_rows(late(), &to(&lease, 2))).await;
    must("to release", side.release(&lease)).await;
    fenced("a late commit", side.commit_rows(vec![gone("x")], &to(&lease, 3))).await;
    same_rows(&side.all_rows("a").await, &[("x", "2"), ("y", "2")]);
}

/// The answer to the first may have been lost.
pub(in crate::read_side) async fn rows_of_a_stretch_are_written_once(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    must("to commit", side.commit_rows(vec![written("x", "1")], &to(&lease, 5))).await;
    let before = side.status("a").await;
    for position in [5, 4, 1] {
        let again = vec![written("x", "2"), written("y", "2")];
        fenced("a commit", side.commit_rows(again, &to(&lease, position))).await;
    }
    assert_eq!(side.status("a").await, before);
    same_rows(&side.all_rows("a").await, &[("x", "1")]);
    must("to commit", side.commit_rows(vec![written("x", "2")], &to(&lease, 6))).await;
    same_rows(&side.all_rows("a").await, &[("x", "2")]);
}

pub(in crate::read_side) async fn rows_too_large_are_refused(backend: &dyn ReadSideBackend) {
    const VALUE_BYTES: usize = 1_000;
    let mut limits = Limits::DEFAULT;
    limits.snapshot_bytes_max = VALUE_BYTES;
    let side = Probe::open_with(backend, limits).await;
    let lease = side.working("a").await;
    let before = side.status("a").await;
    let (long_key, nul_key) = ("k".repeat(RowKey::BYTES_MAX + 1), "k\0k".to_owned());
    let wide_key = "\u{e9}".repeat(RowKey::BYTES_MAX / 2 + 1);
    let value = |bytes: usize| format!("\"{}\"", "v".repeat(bytes - 2));
    let large = value(VALUE_BYTES + 1);
    for (key, value) in [(&*long_key, "1"), (&*wide_key, "1"), (&*nul_key, "1"), ("k", &large)] {
        let changes = vec![written("fine", "1"), written(key, value), written("z", "1")];
        invalid("such a row", side.commit_rows(changes, &to(&lease, 1))).await;
    }
    assert_eq!(side.all_rows("a").await, []);
    assert_eq!(side.status("a").await, before);
    let (key, fits) = ("k".repeat(RowKey::BYTES_MAX), value(VALUE_BYTES));
    let changes = vec![written(&key, &fits), written("", "1")];
    must("to commit what fits", side.commit_rows(changes, &to(&lease, 1))).await;
    same_rows(&side.all_rows("a").await, &[("", "1"), (&key, &fits)]);
}

pub(in crate::read_side) async fn rows_by_the_thousand_are_written(backend: &dyn ReadSideBackend) {
    const MANY: usize = 12_000;
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    let keys: Vec<_> = (0..MANY).map(|number| format!("{number:05}")).collect();
    let changes = keys.iter().map(|key| written(key, "1")).collect();
    must("to commit", side.commit_rows(changes, &to(&lease, 1))).await;
    let row_keys: Vec<RowKey> = keys.iter().map(|key| RowKey::new(&**key)).collect();
    assert_eq!(must("rows", side.rows_of(&lease, &row_keys)).await.len(), MANY);
    assert_eq!(side.all_rows("a").await.len(), MANY);
    let changes = keys.iter().enumerate();
    let changes = changes.map(|(number, key)| match number % 2 {
        0 => gone(key),
        _ => written(key, "2"),
    });
    must("to commit", side.commit_rows(changes.collect(), &to(&lease, 2))).await;
    let left: Vec<_> = keys.iter().skip(1).step_by(2).map(|key| (&**key, "2")).collect();
    same_rows(&side.all_rows("a").await, &left);
}

/// Each reads rows, thinks, and writes, with leases that run out all the time.
pub(in crate::read_side) async fn rows_counted_up_by_many_tasks_add_up(
    backend: &dyn ReadSideBackend,
) {
    const TASKS: usize = 12;
    const ROUNDS: usize = 25;
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let clock = Arc::new(AtomicU64::new(0));
    let done = together(TASKS, |task| {
        let (side, clock) = (side.clone(), clock.clone());
        async move {
            let mut done = 0;
            for _ in 0..ROUNDS {
                let now = clock.fetch_add(1, Ordering::Relaxed);
                let owner = format!("task {task}").into();
                let claim = Claim { owner, now: at(now), until: at(now + 3), ..claim("a", "") };
                let Some(lease) = must("to ask", side.claim(claim)).await else { continue };
                done += u64::from(counted_up(&side, &lease).await);
            }
            done
        }
    })
    .await;
    let total: u64 = done.into_iter().sum();
    let part = side.part("a").await;
    assert_eq!((part.position.get(), part.events), (total, total));
    let count = total.to_string();
    same_rows(&side.all_rows("a").await, &[("one", &count), ("two", &count)]);
}

async fn counted_up(side: &Probe, lease: &annals_core::Lease) -> bool {
    let keys = ["one".into(), "two".into()];
    let rows = must("rows", side.rows_of(lease, &keys)).await;
    tokio::task::yield_now().await;
    let next = |key: &RowKey| {
        let row = rows.iter().find(|row| row.key == *key);
        let count: u64 =
            row.map_or(0, |row| serde_json::from_slice(&row.value).expect("the rows are numbers"));
        RowChange { key: key.clone(), value: Some((count + 1).to_string().into()) }
    };
    let advance = to(lease, lease.position.get() + 1);
    let changes = keys.iter().map(next).collect();
    match within("a commit", side.commit_rows(changes, &advance)).await {
        Ok(()) => true,
        Err(ReadSideError::Fenced(_)) => false,
        Err(error) => panic!("a commit is made or fenced, but: {error:?}"),
    }
}
