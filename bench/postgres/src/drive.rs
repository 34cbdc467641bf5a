//! Callers that do one thing after another for a while.

use std::time::{Duration, Instant};

/// How long callers work, and how long before that counts.
#[derive(Clone, Copy)]
pub struct Span {
    pub warm_up: Duration,
    pub time: Duration,
}

/// Lets callers append, each one event at a time, and returns how many a second were acknowledged
/// after the warm-up.
pub async fn drive<A, F>(callers: u64, span: Span, append: A) -> f64
where
    A: Fn(u64, u64) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.time;
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let append = append.clone();
            tokio::spawn(async move {
                let mut counted = 0_u64;
                for turn in 0.. {
                    append(caller, turn).await;
                    let now = Instant::now();
                    counted += u64::from(now > begin && now <= end);
                    if now > end {
                        break;
                    }
                }
                counted
            })
        })
        .collect();
    let mut counted = 0;
    for caller in callers {
        counted += caller.await.expect("no caller fails");
    }
    counted as f64 / span.time.as_secs_f64()
}
