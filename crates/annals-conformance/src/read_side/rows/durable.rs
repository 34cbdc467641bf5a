//! Rows are found again by whoever opens the place they were kept at.

use annals_core::Claim;

use crate::read_side::DurableReadSide;
use crate::read_side::probe::{Probe, claim, must, same_rows, to, written};

pub(in crate::read_side) async fn rows_are_found_after_opening_again(
    backend: &dyn DurableReadSide,
) {
    let side = Probe::open_at(backend, "place").await;
    let lease = side.working("a").await;
    must("to commit", side.commit_rows(vec![written("x", "1")], &to(&lease, 1))).await;
    let generation = side.begun("a").await;
    let new = side.claimed(Claim { generation, ..claim("a", "builder") }).await;
    let changes = vec![written("x", "2"), written("y", "2")];
    must("to commit", side.commit_rows(changes, &to(&new, 1))).await;
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    same_rows(&side.all_rows("a").await, &[("x", "1")]);
    must("to commit", side.commit_rows(vec![written("z", "3")], &to(&new, 2))).await;
    side.activated("a", generation).await;
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    same_rows(&side.all_rows("a").await, &[("x", "2"), ("y", "2"), ("z", "3")]);
}
