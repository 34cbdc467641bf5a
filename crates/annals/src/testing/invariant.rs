//! Invariants: what holds whatever is asked of an aggregate, in whatever order.

use std::fmt::{self, Debug, Write};

use annals_core::{NewEvent, StreamId};
use proptest::collection::vec;
use proptest::strategy::Strategy;

use crate::refusal::is_refusal;
use crate::testing::cases::{Cases, caught, check};
use crate::testing::failure::{answered, chain, told};
use crate::testing::given::once;
use crate::testing::world::{World, at_once, stream};
use crate::{Aggregate, Command, Event, ExecuteError};

/// Whatever commands come, this holds of the state after each of them.
///
/// Sequences of commands are executed, each on an aggregate of its own, one command after the
/// other; some will be refused. If one breaks the invariant, the smallest that does is told, with
/// what came of each command. [`Sequences`] says more exactly what is tried.
///
/// ```
/// # use annals::{Aggregate, Apply, Command, Event};
/// # #[derive(Clone, Debug, PartialEq, Event)]
/// # enum AccountEvent { MoneyDeposited { amount: i64 }, MoneyWithdrawn { amount: i64 } }
/// # use AccountEvent::*;
/// # #[derive(Debug, Default, Aggregate)]
/// # #[aggregate(category = "account", event = AccountEvent)]
/// # struct Account { balance: i64 }
/// # impl Apply<AccountEvent> for Account {
/// #     fn apply(&mut self, event: AccountEvent) {
/// #         self.balance += match event { MoneyDeposited { amount } => amount, MoneyWithdrawn { amount } => -amount };
/// #     }
/// # }
/// # #[derive(Debug, PartialEq, thiserror::Error)] #[error("only {held} is held")] struct InsufficientFunds { held: i64 }
/// # impl Command<Account> for AccountCommand {
/// #     type Error = InsufficientFunds;
/// #     fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, InsufficientFunds> {
/// #         let held = account.balance;
/// #         match self {
/// #             AccountCommand::Deposit { amount } => Ok(vec![MoneyDeposited { amount }]),
/// #             AccountCommand::Withdraw { amount } if amount > held => Err(InsufficientFunds { held }),
/// #             AccountCommand::Withdraw { amount } => Ok(vec![MoneyWithdrawn { amount }]),
/// #         }
/// #     }
/// # }
/// use annals::testing::invariant;
/// use proptest::prelude::*;
///
/// #[derive(Clone, Debug)]
/// enum AccountCommand {
///     Deposit { amount: i64 },
///     Withdraw { amount: i64 },
/// }
///
/// fn commands() -> impl Strategy<Value = AccountCommand> {
///     prop_oneof![
///         (1..100_i64).prop_map(|amount| AccountCommand::Deposit { amount }),
///         (1..100_i64).prop_map(|amount| AccountCommand::Withdraw { amount }),
///     ]
/// }
///
/// invariant::<Account, _>(commands(), |account| account.balance >= 0);
/// ```
///
/// # Panics
/// When it does not hold, or a command fails otherwise than by a refusal.
#[track_caller]
pub fn invariant<A, C>(commands: impl Strategy<Value = C>, holds: impl Fn(&A) -> bool)
where
    A: Aggregate,
    C: Command<A> + Debug,
{
    Sequences::of(commands).keep(holds);
}

/// Sequences of commands to be tried: always the same ones, until another [seed](Self::seed) is
/// chosen.
#[must_use = "nothing is tried until `keep` says what should hold"]
#[derive(Clone, Debug)]
pub struct Sequences<S> {
    commands: S,
    steps_max: usize,
    cases: Cases,
    given: Vec<NewEvent>,
}

/// One command of a sequence, and what came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'a, A: Aggregate, C: Command<A>> {
    /// What was asked for.
    pub command: &'a C,
    /// The state in which it was asked.
    pub before: &'a A,
    /// The state afterwards.
    pub after: &'a A,
    /// What stood against it, if something did.
    pub answer: Result<(), &'a ExecuteError<C::Error>>,
}

impl<S: Strategy> Sequences<S> {
    /// 256 sequences of up to 32 commands that `commands` makes.
    pub fn of(commands: S) -> Self {
        Self { commands, steps_max: 32, cases: Cases::default(), given: Vec::new() }
    }

    /// So many sequences.
    pub fn cases(mut self, count: u32) -> Self {
        self.cases.count = count;
        self
    }

    /// At most so many commands in each.
    pub fn steps_max(mut self, steps: usize) -> Self {
        self.steps_max = steps;
        self
    }

    /// Other sequences than those of seed 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.cases.seed = seed;
        self
    }

    /// Each begins after these events.
    ///
    /// # Panics
    /// When one of them cannot be stored.
    #[track_caller]
    pub fn given<E: Event>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        for event in events {
            match event.encode() {
                Ok(event) => self.given.push(event),
                Err(error) => panic!("a given event cannot be stored: {}", chain(&error)),
            }
        }
        self
    }

    /// Tries them: this holds of the state before the first command and after each.
    ///
    /// # Panics
    /// As [`invariant`].
    #[track_caller]
    pub fn keep<A>(self, holds: impl Fn(&A) -> bool)
    where
        A: Aggregate,
        S::Value: Command<A>,
    {
        self.keep_each_step(|step: &Step<'_, A, S::Value>| holds(step.before) && holds(step.after));
    }

    /// Tries them: this holds of each step.
    ///
    /// # Panics
    /// As [`invariant`].
    #[track_caller]
    pub fn keep_each_step<A>(self, holds: impl Fn(&Step<'_, A, S::Value>) -> bool)
    where
        A: Aggregate,
        S::Value: Command<A>,
    {
        let Self { commands, steps_max, cases, given } = self;
        let sequences = vec(commands, 0..=steps_max);
        cases.run(&sequences, "the invariant is broken", |commands| {
            let mut sequence = Sequence::new::<A>(given.clone());
            commands.iter().try_for_each(|command| {
                let step = caught(|| sequence.step(command, &holds));
                step.unwrap_or_else(|said| Err(sequence.end(&format!("this panics: {said}"))))
            })
        });
    }
}

/// One sequence on its way.
struct Sequence {
    world: World,
    stream: StreamId,
    steps: usize,
    story: String,
}

impl Sequence {
    fn new<A: Aggregate>(given: Vec<NewEvent>) -> Self {
        let (world, stream) = (World::new(), stream(A::CATEGORY, 1));
        world.give_encoded(&stream, given);
        Self { world, stream, steps: 0, story: String::new() }
    }

    /// Takes a step; the whole story when it breaks the invariant.
    fn step<A: Aggregate, C: Command<A> + Debug>(
        &mut self,
        command: &C,
        holds: impl Fn(&Step<'_, A, C>) -> bool,
    ) -> Result<(), String> {
        self.steps += 1;
        let number = self.steps;
        self.tell(format_args!("{number}. {command:?}"));
        let (before, head) = (self.load::<A>()?, self.world.head());
        let execute =
            self.world.annals().execute_in::<A, C>(Ok(self.stream.clone()), command.clone());
        let execute = execute.context(self.world.context()).retry(once());
        let executed = at_once(execute.into_future());
        for event in self.world.log(head) {
            self.tell(format_args!("       {}", told(&event)));
        }
        if let Err(error) = &executed {
            self.tell(format_args!("       {}", answered(error)));
            if !is_refusal(error) {
                return Err(self.end("this is not a refusal but a mistake in the program"));
            }
        }
        let after = self.load::<A>()?;
        let answer = executed.as_ref().map(drop);
        let step = Step { command, before: &before, after: &after, answer };
        check(|| holds(&step)).map_err(|how| self.end(&how))
    }

    fn load<A: Aggregate>(&mut self) -> Result<A, String> {
        match at_once(self.world.annals().load_in::<A>(self.stream.clone())) {
            Ok(loaded) => Ok(loaded.state),
            Err(error) => Err(self.end(&format!("this cannot be read: {}", chain(&error)))),
        }
    }

    fn tell(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.story, "{line}").expect("a text can be written to");
    }

    /// The story with its end.
    fn end(&mut self, how: &str) -> String {
        self.tell(format_args!("    => {how}"));
        std::mem::take(&mut self.story)
    }
}
