//! Executing: validate, load, authorise, decide, append; on conflict catch up and decide again.

pub(crate) mod attempt;
pub(crate) mod how;
pub(crate) mod open;

use std::any::type_name;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use annals_core::{
    Append, ExpectedVersion, InvalidName, Position, Receipt, RecordedEvent, StreamId, Version,
};
use tracing::{Instrument, debug_span};

use crate::aggregate::stream_of;
use crate::error::{ExecuteError, LoadError};
use crate::event::encode;
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, done_in, how_methods};
use crate::load::{AsOf, Loaded};
use crate::refusal::Refused;
use crate::{Aggregate, Annals, Command, Context};

/// The receipt of a command that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed<A> {
    /// The state after the command.
    pub state: A,
    /// The version of the stream after the command.
    pub version: Version,
    /// The position of the stream's last event: hand it to a reader to read one's own write.
    pub position: Position,
    /// The receipt of the append; `None` when there was nothing to do and nothing was recorded.
    pub appended: Option<Receipt>,
    /// Whether it had been executed before, under the same id, and was recognised.
    pub repeated: bool,
}

/// A command on its way; await it. Made by [`Annals::execute`].
#[must_use = "nothing is executed until it is awaited"]
pub struct Execute<'a, A, C> {
    annals: &'a Annals,
    stream: Result<StreamId, InvalidName>,
    command: C,
    how: How,
    aggregate: PhantomData<fn() -> A>,
}

impl Annals {
    /// Executes a command on the aggregate with this id.
    ///
    /// The command is validated; the aggregate is loaded; the command is authorised, and decides
    /// which events happen; they are appended all together, unless the stream has changed since
    /// it was loaded. If it has, the aggregate catches up and the command decides again, as often
    /// as the [retry policy](Self::with_retry) allows. A command that decides that nothing
    /// happens leaves the log alone.
    ///
    /// An append whose outcome the store does not know is repeated with the same event ids,
    /// which writes it once whatever became of it before (S7).
    ///
    /// ```
    /// # use annals::{Aggregate, Apply, Command, Event};
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
    /// use annals::{Annals, Context, MemoryStore};
    ///
    /// let bank = Annals::new(MemoryStore::new());
    /// let receipt = bank.execute("ACC_123", Deposit { amount: 100 }).await?;
    /// assert_eq!((receipt.state.balance, receipt.version.get()), (100, 1));
    ///
    /// // The same request twice, one deposit:
    /// let deposit = || bank.execute("ACC_123", Deposit { amount: 5 }).id("request-7");
    /// let by_ada = deposit().context(Context::new().actor("ada")).await?;
    /// let again = deposit().await?;
    /// assert_eq!((again.state.balance, again.repeated), (105, true));
    /// assert_eq!(again.appended, by_ada.appended);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ExecuteError`], grouped by what to do about it.
    pub fn execute<A, C>(&self, id: impl Into<A::Id>, command: C) -> Execute<'_, A, C>
    where
        A: Aggregate,
        C: Command<A>,
    {
        self.execute_in(stream_of::<A>(id), command)
    }

    /// The same in the aggregate's stream itself.
    pub(crate) fn execute_in<A: Aggregate, C: Command<A>>(
        &self,
        stream: Result<StreamId, InvalidName>,
        command: C,
    ) -> Execute<'_, A, C> {
        let how = How { retry: command.retry(), ..How::default() };
        Execute { annals: self, stream, how, command, aggregate: PhantomData }
    }
}

impl<A: Aggregate, C: Command<A>> Execute<'_, A, C> {
    how_methods!();

    async fn run(self) -> Result<Executed<A>, ExecuteError<C::Error>> {
        let Self { annals, stream, command, how, .. } = self;
        let stream = stream.map_err(LoadError::from)?;
        let span = debug_span!("execute", command = name_of::<C>(), stream = stream.as_str());
        let executed = async {
            let executed = execute(annals, &stream, &command, &how).await;
            let refused = executed.as_ref().err();
            let what = Refused::Command(&stream);
            let refusal = refused.and_then(|error| annals.refusal(what, name_of::<C>(), error));
            if let Some(refusal) = refusal {
                annals.record_refusal(refusal).await;
            }
            executed
        };
        executed.instrument(span).await
    }
}

impl<'a, A, C> IntoFuture for Execute<'a, A, C>
where
    A: Aggregate,
    C: Command<A> + 'a,
{
    type Output = Result<Executed<A>, ExecuteError<C::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let context = self.how.context.take();
        done_in(context, self.run())
    }
}

/// A command's type without the path to it.
pub(crate) fn name_of<C>() -> &'static str {
    let name = type_name::<C>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

async fn execute<A: Aggregate, C: Command<A>>(
    annals: &Annals,
    stream: &StreamId,
    command: &C,
    how: &How,
) -> Result<Executed<A>, ExecuteError<C::Error>> {
    command.field_errors().into_result()?;
    let mut deciding = OnAggregate { annals, stream, command, loaded: None, events: vec![] };
    match annals.attempt(how, &mut deciding).await? {
        Outcome::Nothing => Ok(Executed::of(deciding.into_loaded(), None, false)),
        Outcome::Appended(receipt, append) => {
            let events = std::mem::take(&mut deciding.events);
            let mut loaded = deciding.into_loaded();
            loaded.append(events, &append.streams[0].events, &receipt);
            annals.keep(&mut loaded);
            Ok(Executed::of(loaded, Some(receipt), false))
        }
        Outcome::Repeated(receipt, left) => {
            let loaded = as_then(annals, stream, command, &left).await?;
            Ok(Executed::of(loaded, Some(receipt), true))
        }
    }
}

/// The aggregate as the command left it, for whoever may give the command.
async fn as_then<A: Aggregate, C: Command<A>>(
    annals: &Annals,
    stream: &StreamId,
    command: &C,
    left: &[RecordedEvent],
) -> Result<Loaded<A>, ExecuteError<C::Error>> {
    let first = left.first().map_or(Version::EMPTY, |first| first.version);
    let before = AsOf::Version(Version::new(first.get().saturating_sub(1)));
    let mut loaded: Loaded<A> = annals.load_as_of_in(stream.clone(), before).await?;
    command.authorise(&loaded.state, &Context::current())?;
    loaded.fold_these(left)?;
    Ok(loaded)
}

/// A command to one aggregate, being decided.
struct OnAggregate<'a, A: Aggregate, C> {
    annals: &'a Annals,
    stream: &'a StreamId,
    command: &'a C,
    loaded: Option<Loaded<A>>,
    /// What it decided last, as it will be read.
    events: Vec<A::Event>,
}

impl<A: Aggregate, C: Command<A>> Deciding for OnAggregate<'_, A, C> {
    type Refusal = C::Error;
    const BLIND: bool = false;

    fn what(&self) -> String {
        format!("{} {}", name_of::<C>(), self.stream)
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<C::Error>> {
        let loaded = match self.loaded.take() {
            Some(mut loaded) => {
                loaded.catch_up(self.annals.store()).await?;
                loaded
            }
            None => self.annals.load_in::<A>(self.stream.clone()).await?,
        };
        let loaded = self.loaded.insert(loaded);
        let decided = decide(loaded, self.command)?;
        self.events.clear();
        let mut events = Vec::with_capacity(decided.len());
        for event in decided {
            let (new, read) = encode(&event, self.stream)?;
            events.push(new);
            self.events.extend(read);
        }
        if events.is_empty() {
            return Ok(Append::default());
        }
        let expected = ExpectedVersion::Exact(loaded.version);
        Ok(Append::to(self.stream.clone(), expected, events))
    }
}

impl<A: Aggregate, C> OnAggregate<'_, A, C> {
    fn into_loaded(self) -> Loaded<A> {
        self.loaded.expect("what was decided was loaded before")
    }
}

/// What a command decides about a state, and whether it may.
pub(crate) fn decide<A: Aggregate, C: Command<A>>(
    loaded: &Loaded<A>,
    command: &C,
) -> Result<Vec<A::Event>, ExecuteError<C::Error>> {
    loaded.check_open().map_err(ExecuteError::Standing)?;
    command.authorise(&loaded.state, &Context::current())?;
    command.clone().decide(&loaded.state).map_err(ExecuteError::Refused)
}

impl<A> Executed<A> {
    fn of(loaded: Loaded<A>, appended: Option<Receipt>, repeated: bool) -> Self {
        let Loaded { state, version, position, .. } = loaded;
        Self { state, version, position, appended, repeated }
    }
}

impl<A, C> fmt::Debug for Execute<'_, A, C> {
    /// Without the command, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Execute");
        debug.field("command", &name_of::<C>()).field("stream", &self.stream);
        debug.finish_non_exhaustive()
    }
}
