//! A read side that fails: before it does something, behind it, or for ever.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use annals_core::error::{Fault, ReadSideError};
use async_trait::async_trait;

use super::ReadSideDecorator;
use crate::faults::Dice;

/// What happens to a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meet {
    /// It is made, and answered.
    Honestly,
    /// The same, but it takes so long before and behind it.
    Delayed(Duration),
    /// It is not made, and whoever calls is told so.
    NotAtAll,
    /// It is made, and whoever calls is told that it may not have been.
    AnswerLost,
    /// It is never made, and whoever calls hears nothing any more.
    DeadBefore,
    /// It is made, and whoever calls hears nothing any more.
    DeadAfter,
}

impl Meet {
    /// Whether no later change is made either, as by a process that has died.
    #[must_use]
    pub fn is_deadly(self) -> bool {
        matches!(self, Self::DeadBefore | Self::DeadAfter)
    }
}

/// The calls that change nothing, and are always made.
const ASKING: &[&str] = &[
    "subscribers",
    "subscriber",
    "parked",
    "row",
    "rows",
    "next_due",
    "deliveries",
    "attempts",
    "inboxes",
];

/// A plan for the calls that change something, or ask for what is about to be changed.
pub struct Faults {
    plan: Box<dyn Fn(usize) -> Meet + Send + Sync>,
    spared: &'static [&'static str],
    calls: AtomicUsize,
    met: AtomicUsize,
    is_dead: AtomicBool,
}

impl Faults {
    /// What each of the calls meets, which are counted from 0.
    #[must_use]
    pub fn planned(plan: impl Fn(usize) -> Meet + Send + Sync + 'static) -> Self {
        Self {
            plan: Box::new(plan),
            spared: &[],
            calls: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
        }
    }

    /// One call meets this, all others are honest.
    #[must_use]
    pub fn at(call: usize, meet: Meet) -> Self {
        Self::planned(move |number| if number == call { meet } else { Meet::Honestly })
    }

    /// About every so many calls fail, half of them when they are already made; which, follows from
    /// `seed`.
    #[must_use]
    pub fn one_in(calls: u32, seed: u64) -> Self {
        let dice = Dice::seeded(seed);
        Self::planned(move |_| match (dice.throw(calls), dice.throw(2)) {
            (0, 0) => Meet::NotAtAll,
            (0, _) => Meet::AnswerLost,
            _ => Meet::Honestly,
        })
    }

    /// The same without these calls, which are honest and not counted.
    #[must_use]
    pub fn sparing(mut self, calls: &'static [&'static str]) -> Self {
        self.spared = calls;
        self
    }

    /// How many calls were not honest.
    #[must_use]
    pub fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// Whether no change comes through any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    fn next(&self) -> Meet {
        let meet = (self.plan)(self.calls.fetch_add(1, Ordering::SeqCst));
        if meet != Meet::Honestly {
            self.met.fetch_add(1, Ordering::SeqCst);
        }
        meet
    }

    async fn die<T>(&self) -> T {
        self.is_dead.store(true, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[async_trait]
impl ReadSideDecorator for Faults {
    async fn around<T, C>(&self, name: &'static str, call: C) -> Result<T, ReadSideError>
    where
        T: Send,
        C: Future<Output = Result<T, ReadSideError>> + Send,
    {
        if ASKING.contains(&name) || self.spared.contains(&name) {
            return call.await;
        }
        if self.is_dead() {
            return std::future::pending().await;
        }
        match self.next() {
            Meet::Honestly => call.await,
            Meet::Delayed(time) => {
                tokio::time::sleep(time).await;
                let answer = call.await;
                tokio::time::sleep(time).await;
                answer
            }
            Meet::NotAtAll => Err(lost()),
            Meet::AnswerLost => call.await.and_then(|_| Err(lost())),
            Meet::DeadBefore => self.die().await,
            Meet::DeadAfter => {
                // Nobody is left to hear how it went.
                drop(call.await);
                self.die().await
            }
        }
    }
}

fn lost() -> ReadSideError {
    ReadSideError::Unavailable(Fault::new("failing on purpose"))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("calls", &self.calls).field("met", &self.met).finish()
    }
}
