//! Many writers at once.

use std::future::Future;
use std::sync::Arc;

use annals_core::error::AppendError;
use annals_core::{Append, Receipt};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::probe::{PATIENCE_OF_CASE, Probe, brief, patience};

/// What came of one append.
pub(crate) struct Outcome {
    pub(crate) append: Append,
    pub(crate) result: Result<Receipt, AppendError>,
}

impl Outcome {
    /// The receipt of an append that had no reason to fail.
    #[track_caller]
    pub(crate) fn receipt(&self) -> &Receipt {
        self.result.as_ref().unwrap_or_else(|error| {
            panic!(
                "an append must succeed beside others, but: {error} ({error:?})\nthe append: {}",
                brief(&self.append)
            )
        })
    }
}

/// Lets `writers` tasks start at the same moment and append one after the other what `append`
/// makes of the writer's number and the append's number.
pub(crate) async fn storm(
    store: &Probe,
    writers: usize,
    appends: usize,
    append: impl Fn(usize, usize) -> Append + Send + Sync + 'static,
) -> Vec<Outcome> {
    let append = Arc::new(append);
    let by_writer = together(writers, |writer| {
        let (store, append) = (store.clone(), append.clone());
        async move {
            let mut outcomes = Vec::with_capacity(appends);
            for number in 0..appends {
                let append = append(writer, number);
                let result = store.append(&append).await;
                outcomes.push(Outcome { append, result });
            }
            outcomes
        }
    });
    by_writer.await.into_iter().flatten().collect()
}

/// Starts `count` tasks at the same moment and gives their results in the order of their numbers.
pub(crate) async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (start, task) = (start.clone(), task(number));
        tasks.spawn(PATIENCE_OF_CASE.scope(patience(), async move {
            start.wait().await;
            (number, task.await)
        }));
    }
    let mut results = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(result) => results.push(result),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
