//! With a subscriber go its rows.

use annals_core::{Claim, Deleted};

use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, claim, fenced, must, name, same_rows, to, written};

/// More than what a read side deletes at once.
const MANY: u64 = 2_500;

pub(in crate::read_side) async fn rows_of_a_deleted_subscriber_are_gone(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    for subscriber in ["a", "ab"] {
        let lease = side.working(subscriber).await;
        let rows = (0..MANY).map(|number| written(number.to_string(), "1")).collect();
        must("to commit", side.commit_rows(rows, &to(&lease, 1))).await;
    }
    let generation = side.begun("a").await;
    let built = side.claimed(Claim { generation, ..claim("a", "builder") }).await;
    must("to commit", side.commit_rows(vec![written("x", "2")], &to(&built, 1))).await;

    let deleted = must("to delete", side.delete(&name("a"), at(10))).await;
    assert_eq!(deleted, Deleted { rows: MANY + 1, ..Deleted::default() });
    let late = to(&built, 2);
    let row = || vec![written("late", "3")];
    fenced("a late commit", side.commit_rows(row(), &late)).await;
    assert_eq!(side.all_rows("a").await, []);
    assert_eq!(side.sorted_rows_of(&built, &["x".into()]).await, []);
    assert_eq!(side.all_rows("ab").await.len() as u64, MANY);

    let anew = side.working("a").await;
    assert_eq!(side.all_rows("a").await, []);
    fenced("a late commit", side.commit_rows(row(), &late)).await;
    assert_eq!(must("to sweep", side.sweep_rows(&name("a"), &[], 9)).await, 0);
    must("to commit", side.commit_rows(vec![written("y", "4")], &to(&anew, 1))).await;
    same_rows(&side.all_rows("a").await, &[("y", "4")]);
}
