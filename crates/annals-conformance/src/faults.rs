//! Decorators that are only unpleasant: whoever keeps to the contract keeps working over them,
//! and a store under them still passes the suite.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_core::error::{AppendError, Fault, ReadError};
use annals_core::{
    Append, EventStore, EventStream, Position, Read, Receipt, Subscribe, Subscription,
};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::decorate::Decorator;

/// Loses the answer of some appends: of one kind the append was stored, of the other it was not,
/// and the caller is told [`AppendError::Indeterminate`] about both. Repeating is safe (S7).
#[derive(Debug)]
pub struct LosesAnswers {
    dice: Dice,
}

impl LosesAnswers {
    /// One answer in three is lost; which, follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { dice: Dice::seeded(seed) }
    }
}

#[async_trait]
impl Decorator for LosesAnswers {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let lost = || AppendError::Indeterminate(Fault::new("waiting for the answer of an append"));
        match self.dice.throw(6) {
            0 => Err(lost()),
            1 => match store.append(append).await {
                Ok(_) => Err(lost()),
                refused => refused,
            },
            _ => store.append(append).await,
        }
    }
}

/// Answers late, at random: lets other tasks run first, and sleeps a millisecond now and then.
#[derive(Debug)]
pub struct Slow {
    dice: Arc<Dice>,
}

impl Slow {
    /// How late follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { dice: Arc::new(Dice::seeded(seed)) }
    }

    fn slowed<T: Send + 'static>(
        &self,
        items: impl Stream<Item = T> + Send + 'static,
    ) -> impl Stream<Item = T> + Send + 'static {
        let dice = self.dice.clone();
        items.then(move |item| {
            let dice = dice.clone();
            async move {
                dice.dawdle().await;
                item
            }
        })
    }
}

#[async_trait]
impl Decorator for Slow {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        self.dice.dawdle().await;
        let outcome = store.append(append).await;
        self.dice.dawdle().await;
        outcome
    }

    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        Box::pin(self.slowed(store.read(read)))
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        Box::pin(self.slowed(store.subscribe(subscribe)))
    }

    async fn head(&self, store: &Arc<dyn EventStore>) -> Result<Position, ReadError> {
        self.dice.dawdle().await;
        store.head().await
    }
}

#[derive(Debug)]
pub(crate) struct Dice(Mutex<SmallRng>);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    pub(crate) fn throw(&self, sides: u32) -> u32 {
        self.0.lock().expect("no code panics while throwing").random_range(0..sides)
    }

    async fn dawdle(&self) {
        match self.throw(200) {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            n => {
                for _ in 0..n % 3 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
