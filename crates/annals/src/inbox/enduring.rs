//! Parts that last: a fault of one of them is the end of neither it nor the others.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::attempt::said;

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Runs a part to its end. When it panics it begins anew, after a pause that grows while it goes
/// on like that.
pub(super) async fn endure<F>(what: &'static str, mut part: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    let mut pause = PAUSE_FIRST;
    loop {
        let begun = Instant::now();
        let Err(panic) = AssertUnwindSafe(part()).catch_unwind().await else { return };
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        let said = said(&*panic);
        tracing::error!(what, said, ?pause, "a part of the inboxes panicked; it begins anew");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_begins_anew_after_pauses_that_grow() {
        let begun = Instant::now();
        let mut times = Vec::new();
        endure("testing", || {
            times.push(begun.elapsed().as_millis());
            let is_last = times.len() == 4;
            async move { assert!(is_last, "not yet") }
        })
        .await;
        assert_eq!(times, [0, 50, 150, 350]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_begin_anew_after_a_long_while_without_a_panic() {
        let begun = Instant::now();
        let mut ended = Vec::new();
        endure("testing", || {
            ended.push(begun.elapsed());
            let count = ended.len();
            async move {
                if count == 3 {
                    tokio::time::sleep(PAUSE_MAX * 2).await;
                }
                assert!(count == 4, "not yet");
            }
        })
        .await;
        assert_eq!(ended[3] - ended[2], PAUSE_MAX * 2 + PAUSE_FIRST);
    }
}
