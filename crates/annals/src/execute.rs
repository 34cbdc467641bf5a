//! Executing: validate, load, decide, append; on conflict catch up and decide again.

use std::fmt;

use annals_core::error::AppendError;
use annals_core::{Append, ExpectedVersion, Position, Receipt, Version};

use crate::aggregate::stream_of;
use crate::error::{EncodeError, ExecuteError};
use crate::load::Loaded;
use crate::retry::Attempts;
use crate::{Aggregate, Annals, Command, Event};

/// The receipt of a command that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed<A> {
    /// The state after the command.
    pub state: A,
    /// The version of the stream after the command.
    pub version: Version,
    /// The position of the stream's last event: hand it to a reader to read one's own write.
    pub position: Position,
    /// The receipt of the append; `None` when there was nothing to do and nothing was recorded.
    pub appended: Option<Receipt>,
}

impl Annals {
    /// Executes a command on the aggregate with this id.
    ///
    /// The command is validated; the aggregate is loaded; the command decides which events
    /// happen; they are appended all together, unless the stream has changed since it was
    /// loaded. If it has, the aggregate catches up and the command decides again, as often as
    /// the [retry policy](Self::with_retry) allows. A command that decides that nothing
    /// happens leaves the log alone.
    ///
    /// An append whose outcome the store does not know is repeated with the same event ids,
    /// which writes it once whatever became of it before (S7).
    ///
    /// ```
    /// # use annals::{Aggregate, Annals, Apply, Command, Event, MemoryStore};
    /// # #[derive(Event)] enum AccountEvent { MoneyDeposited { amount: u64 } }
    /// # #[derive(Default, Aggregate)]
    /// # #[aggregate(category = "account", event = AccountEvent)]
    /// # struct Account { balance: u64 }
    /// # impl Apply<AccountEvent> for Account {
    /// #     fn apply(&mut self, AccountEvent::MoneyDeposited { amount }: AccountEvent) {
    /// #         self.balance += amount;
    /// #     }
    /// # }
    /// # #[derive(Clone)] struct Deposit { amount: u64 }
    /// # impl Command<Account> for Deposit {
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
    /// #         Ok(vec![AccountEvent::MoneyDeposited { amount: self.amount }])
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bank = Annals::new(MemoryStore::new());
    /// let receipt = bank.execute("ACC_123", Deposit { amount: 100 }).await?;
    /// assert_eq!((receipt.state.balance, receipt.version.get()), (100, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ExecuteError`], grouped by what to do about it.
    pub async fn execute<A, C>(
        &self,
        id: impl fmt::Display,
        command: C,
    ) -> Result<Executed<A>, ExecuteError<C::Error>>
    where
        A: Aggregate,
        C: Command<A>,
    {
        command.validate().map_err(ExecuteError::Invalid)?;
        let stream = stream_of::<A>(id).map_err(|invalid| ExecuteError::Load(invalid.into()))?;
        let mut loaded = Loaded::empty(stream);
        let mut attempts = Attempts::first(self.retry());
        loop {
            loaded.catch_up(self.store()).await?;
            let events = command.clone().decide(&loaded.state).map_err(ExecuteError::Refused)?;
            if events.is_empty() {
                return Ok(Executed::unchanged(loaded));
            }
            match self.append_certainly(append_of(&loaded, &events)?).await {
                Ok(receipt) => return Ok(Executed::changed(loaded, events, receipt)),
                Err(AppendError::Conflict(_)) if attempts.next().await => {}
                Err(AppendError::Conflict(conflict)) => {
                    let attempts = attempts.made();
                    return Err(ExecuteError::Conflict { attempts, conflict });
                }
                Err(error) => return Err(ExecuteError::Append(error)),
            }
        }
    }

    /// Appends, and repeats an append whose outcome is unknown, event ids and all, until it is
    /// known.
    ///
    /// Once one outcome was unknown, only a receipt or a conflict can tell what became of it: a
    /// receipt is that of the append whichever time it was stored (S7), and a conflict says that
    /// the stream has moved past the expected version without it, so that it never will be.
    async fn append_certainly(&self, append: Append) -> Result<Receipt, AppendError> {
        let mut attempts = Attempts::first(self.retry());
        let mut unknown = None;
        loop {
            match self.store().append(append.clone()).await {
                Ok(receipt) => return Ok(receipt),
                Err(error @ AppendError::Conflict(_)) => return Err(error),
                Err(error @ AppendError::Indeterminate(_)) => unknown = Some(error),
                Err(error) if unknown.is_none() => return Err(error),
                Err(_) => {}
            }
            if !attempts.next().await {
                return Err(unknown.expect("without an unknown outcome the loop has returned"));
            }
        }
    }
}

fn append_of<A: Aggregate>(loaded: &Loaded<A>, events: &[A::Event]) -> Result<Append, EncodeError> {
    let events: Vec<_> = events.iter().map(Event::encode).collect::<Result<_, _>>()?;
    let expected = ExpectedVersion::Exact(loaded.version);
    Ok(Append::to(loaded.stream.clone(), expected, events))
}

impl<A: Aggregate> Executed<A> {
    fn unchanged(loaded: Loaded<A>) -> Self {
        Self {
            state: loaded.state,
            version: loaded.version,
            position: loaded.position,
            appended: None,
        }
    }

    fn changed(loaded: Loaded<A>, events: Vec<A::Event>, receipt: Receipt) -> Self {
        let version = receipt
            .version_of(&loaded.stream)
            .expect("a receipt names every stream that was appended to");
        let mut state = loaded.state;
        events.into_iter().for_each(|event| state.apply(event));
        Self { state, version, position: receipt.last_position, appended: Some(receipt) }
    }
}
