//! Where expressions are parsed and evaluated: one thread with a deep stack.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use tokio::sync::oneshot;

/// The stack of the thread, of which only what is used is memory. The parser goes down with every
/// operator of a chain before anything can be said about its depth, and without optimisation a
/// level of the interpreter takes 8 KiB and more.
const STACK_BYTES: usize = 128 << 20;

type Work = Box<dyn FnOnce() + Send>;

/// The thread, which ends with the last clone. It is there from the start, so that no rule can come
/// to fail because there is none to be had; and it is one, because what is to be done is short,
/// however hostile: see [`Budget`](super::Budget).
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    work: Sender<Work>,
}

/// Comes of the expression and its values alone, so that another attempt would end in the same way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the interpreter of expressions panicked")]
pub(crate) struct Panicked;

impl Interpreter {
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start() -> io::Result<Self> {
        Self::on_a_stack_of(STACK_BYTES)
    }

    fn on_a_stack_of(bytes: usize) -> io::Result<Self> {
        let (work, waiting) = channel::<Work>();
        thread::Builder::new().name("annals-rules".into()).stack_size(bytes).spawn(move || {
            for work in waiting {
                // A panic drops the answer's other half, which the waiting side notices.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        })?;
        Ok(Self { work })
    }

    /// Runs `work` where nothing waits for it but its like, and where neither depth nor a panic does
    /// any harm. What nobody waits for any more is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        self.work.send(work).expect("the thread outlives its handles");
        answered.await.map_err(|_| Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::{Interpreter, Panicked};

    #[tokio::test]
    async fn everything_runs_on_one_thread_and_a_panic_does_not_end_it() {
        let interpreter = Interpreter::start().unwrap();
        let first = interpreter.run(|| thread::current().id()).await.unwrap();
        let other = interpreter.clone();
        assert_eq!(other.run(|| panic!("as asked")).await, Err::<(), _>(Panicked));
        assert_eq!(other.run(|| thread::current().id()).await, Ok(first));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let interpreter = Interpreter::start().unwrap();
        let (go, wait) = std::sync::mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        // Both wait behind what takes its time; then nobody waits for them.
        tokio::select! {
            biased;
            _ = interpreter.run(move || wait.recv()) => panic!("it is not over"),
            _ = interpreter.run(move || begins.store(true, Ordering::SeqCst)) => panic!("nor this"),
            () = async {} => go.send(()).unwrap(),
        }
        interpreter.run(|| ()).await.unwrap();
        assert!(!begun.load(Ordering::SeqCst));
    }

    #[test]
    fn that_there_is_no_thread_to_be_had_is_told_at_the_start() {
        Interpreter::on_a_stack_of(1 << 50).unwrap_err();
    }
}
