//! Batches: several commands to several aggregates, all of them or none.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use annals_core::{
    Append, ExpectedVersion, InvalidName, NewEvent, Receipt, StreamAppend, StreamId, Version,
};
use async_trait::async_trait;

use crate::aggregate::stream_of;
use crate::error::{ExecuteError, LoadError};
use crate::event::encode;
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, done_in, how_methods};
use crate::execute::{decide, name_of};
use crate::load::Loaded;
use crate::refusal::Refused;
use crate::{Aggregate, Annals, Command, RetryPolicy};

/// Several commands on their way; await it. Made by [`Annals::batch`].
#[must_use = "nothing is executed until it is awaited"]
pub struct Batch<'a> {
    annals: &'a Annals,
    parts: Vec<Box<dyn Part + 'a>>,
    how: How,
}

/// What came of a batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batched {
    /// The receipt of the append; `None` when no command had anything to do.
    pub appended: Option<Receipt>,
    /// Whether it had been executed before, under the same id, and was recognised.
    pub repeated: bool,
}

/// Why a batch was not executed; nothing of it was.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError {
    /// Which command it was, counted from 0; `None` when it was not one of them.
    pub part: Option<usize>,
    /// What was wrong.
    pub error: ExecuteError<AnyRefusal>,
}

/// A refusal of any domain.
#[derive(Debug)]
pub struct AnyRefusal(Box<dyn Error + Send + Sync>);

impl AnyRefusal {
    /// The refusal, if it is of this domain.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for AnyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for AnyRefusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "command {part} of the batch: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl Error for BatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl BatchError {
    /// The error's group in one word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error.code()
    }
}

impl Annals {
    /// Executes several commands, to one aggregate or to several, in one append: all of them or
    /// none. Each decides on what those before it have decided.
    ///
    /// ```
    /// # use annals::{Aggregate, Apply, Command, Event};
    /// # #[derive(Event)] enum AccountEvent { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
    /// # #[derive(Default, Aggregate)]
    /// # #[aggregate(category = "account", event = AccountEvent)]
    /// # struct Account { balance: u64 }
    /// # impl Apply<AccountEvent> for Account {
    /// #     fn apply(&mut self, event: AccountEvent) {
    /// #         match event {
    /// #             AccountEvent::Deposited { amount } => self.balance += amount,
    /// #             AccountEvent::Withdrawn { amount } => self.balance -= amount,
    /// #         }
    /// #     }
    /// # }
    /// # #[derive(Debug, thiserror::Error)] #[error("only {0} is left")] struct Short(u64);
    /// # #[derive(Clone)] enum Do { Deposit { amount: u64 }, Withdraw { amount: u64 } }
    /// # use Do::*;
    /// # impl Command<Account> for Do {
    /// #     type Error = Short;
    /// #     fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Short> {
    /// #         match self {
    /// #             Deposit { amount } => Ok(vec![AccountEvent::Deposited { amount }]),
    /// #             Withdraw { amount } if amount > account.balance => Err(Short(account.balance)),
    /// #             Withdraw { amount } => Ok(vec![AccountEvent::Withdrawn { amount }]),
    /// #         }
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use annals::{Annals, MemoryStore};
    ///
    /// let bank = Annals::new(MemoryStore::new());
    /// bank.execute("1", Deposit { amount: 50 }).await?;
    ///
    /// let transfer = |amount| {
    ///     bank.batch().execute("1", Withdraw { amount }).execute("2", Deposit { amount })
    /// };
    /// transfer(30).id("transfer-7").await?;
    /// assert_eq!(bank.load::<Account>("2").await?.state.balance, 30);
    ///
    /// let refused = transfer(30).await.unwrap_err();
    /// assert_eq!(refused.to_string(), "command 0 of the batch: only 20 is left");
    /// assert_eq!(bank.load::<Account>("2").await?.state.balance, 30);
    /// # Ok(()) }
    /// ```
    pub fn batch(&self) -> Batch<'_> {
        Batch { annals: self, parts: vec![], how: How::default() }
    }
}

impl<'a> Batch<'a> {
    how_methods!();

    /// The same, and one more command, to the aggregate with this id.
    pub fn execute<A, C>(mut self, id: impl Into<A::Id>, command: C) -> Self
    where
        A: Aggregate,
        C: Command<A> + 'a,
    {
        let (stream, aggregate) = (stream_of::<A>(id), PhantomData::<fn() -> A>);
        self.parts.push(Box::new(OnAggregate { stream, command, aggregate }));
        self
    }

    async fn run(self) -> Result<Batched, BatchError> {
        let Self { annals, parts, mut how } = self;
        // As patient as the most patient of the commands.
        let policies = parts.iter().filter_map(|part| part.retry());
        how.retry = how.retry.or(policies.max_by_key(RetryPolicy::attempts));
        let mut deciding = Together { annals, parts: &parts, at: None, folds: vec![] };
        let executed = match deciding.check() {
            Ok(()) => annals.attempt(&how, &mut deciding).await,
            Err(error) => Err(error),
        };
        if let (Err(error), Some(part)) = (&executed, deciding.at)
            && let Some(refusal) = parts[part].refusal(annals, error)
        {
            annals.record_refusal(refusal).await;
        }
        match executed {
            Ok(Outcome::Nothing) => Ok(Batched { appended: None, repeated: false }),
            Ok(Outcome::Appended(receipt, _)) => {
                Ok(Batched { appended: Some(receipt), repeated: false })
            }
            Ok(Outcome::Repeated(receipt, _)) => {
                Ok(Batched { appended: Some(receipt), repeated: true })
            }
            Err(error) => Err(BatchError { part: deciding.at, error }),
        }
    }
}

impl<'a> IntoFuture for Batch<'a> {
    type Output = Result<Batched, BatchError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let context = self.how.context.take();
        done_in(context, self.run())
    }
}

/// The commands of a batch, being decided one after the other.
struct Together<'a, 'b> {
    annals: &'b Annals,
    parts: &'b [Box<dyn Part + 'a>],
    /// Which one is being decided.
    at: Option<usize>,
    folds: Vec<Fold>,
}

/// An aggregate as it was loaded and as the commands so far have changed it.
struct Fold {
    stream: StreamId,
    version: Version,
    /// A `Loaded<A>`.
    loaded: Box<dyn Any + Send>,
    events: Vec<NewEvent>,
}

impl Together<'_, '_> {
    /// What can be said of the commands before anything is loaded.
    fn check(&mut self) -> Result<(), ExecuteError<AnyRefusal>> {
        for (n, part) in self.parts.iter().enumerate() {
            self.at = Some(n);
            part.check()?;
        }
        self.at = None;
        Ok(())
    }
}

impl Deciding for Together<'_, '_> {
    type Refusal = AnyRefusal;
    const BLIND: bool = false;

    fn what(&self) -> String {
        self.parts.iter().map(|part| part.what()).collect::<Vec<_>>().join(", ")
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<AnyRefusal>> {
        self.folds.clear();
        for (n, part) in self.parts.iter().enumerate() {
            self.at = Some(n);
            part.decide(self.annals, &mut self.folds).await?;
        }
        self.at = None;
        if self.folds.iter().all(|fold| fold.events.is_empty()) {
            return Ok(Append::default());
        }
        // A command that decided on nothing has still decided on what it saw.
        let streams = self.folds.drain(..).map(|fold| StreamAppend {
            expected: ExpectedVersion::Exact(fold.version),
            stream: fold.stream,
            events: fold.events,
        });
        Ok(Append { streams: streams.collect(), conditions: vec![] })
    }
}

/// A command to an aggregate of any type.
#[async_trait]
trait Part: Send + Sync {
    fn what(&self) -> String;

    fn retry(&self) -> Option<RetryPolicy>;

    fn check(&self) -> Result<(), ExecuteError<AnyRefusal>>;

    async fn decide(
        &self,
        annals: &Annals,
        folds: &mut Vec<Fold>,
    ) -> Result<(), ExecuteError<AnyRefusal>>;

    fn refusal(&self, annals: &Annals, error: &ExecuteError<AnyRefusal>) -> Option<Append>;
}

struct OnAggregate<A, C> {
    stream: Result<StreamId, InvalidName>,
    command: C,
    aggregate: PhantomData<fn() -> A>,
}

#[async_trait]
impl<A: Aggregate, C: Command<A>> Part for OnAggregate<A, C> {
    fn what(&self) -> String {
        let stream = self.stream.as_ref().map_or("", |stream| stream.as_str());
        format!("{} {stream}", name_of::<C>())
    }

    fn retry(&self) -> Option<RetryPolicy> {
        self.command.retry()
    }

    fn check(&self) -> Result<(), ExecuteError<AnyRefusal>> {
        Ok(self.command.field_errors().into_result()?)
    }

    async fn decide(
        &self,
        annals: &Annals,
        folds: &mut Vec<Fold>,
    ) -> Result<(), ExecuteError<AnyRefusal>> {
        let fold = fold_of::<A>(annals, folds, self.stream.clone()?).await?;
        let loaded = fold.loaded.downcast_mut::<Loaded<A>>();
        let loaded = loaded.ok_or_else(|| LoadError::TwoAggregates(fold.stream.clone()))?;
        let events = decide(loaded, &self.command)
            .map_err(|error| error.map(|refusal| AnyRefusal(Box::new(refusal))))?;
        for event in events {
            let (new, read) = encode(&event, &fold.stream)?;
            fold.events.push(new);
            read.for_each(|event| loaded.state.apply(event));
        }
        Ok(())
    }

    fn refusal(&self, annals: &Annals, error: &ExecuteError<AnyRefusal>) -> Option<Append> {
        annals.refusal(Refused::Command(self.stream.as_ref().ok()?), name_of::<C>(), error)
    }
}

/// The fold of a stream in this batch, loaded when it is first asked for.
async fn fold_of<'f, A: Aggregate>(
    annals: &Annals,
    folds: &'f mut Vec<Fold>,
    stream: StreamId,
) -> Result<&'f mut Fold, LoadError> {
    let known = folds.iter().position(|fold| fold.stream == stream);
    let index = match known {
        Some(index) => index,
        None => {
            let loaded = annals.load_in::<A>(stream.clone()).await?;
            let (version, events) = (loaded.version, vec![]);
            folds.push(Fold { stream, version, loaded: Box::new(loaded), events });
            folds.len() - 1
        }
    };
    Ok(&mut folds[index])
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch of {} commands", self.parts.len())
    }
}
