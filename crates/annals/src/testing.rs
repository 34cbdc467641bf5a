//! Tests of a domain: given events, when a command, then events or a refusal. Without I/O and
//! without `async`.
//!
//! With the feature `testing`, for `[dev-dependencies]`.
//!
//! ```
//! # use annals::{Aggregate, Apply, Command, Event, FieldErrors};
//! # #[derive(Clone, Debug, PartialEq, Event)]
//! # enum AccountEvent {
//! #     AccountOpened { owner: String }, MoneyDeposited { amount: u64 }, MoneyWithdrawn { amount: u64 },
//! # }
//! # use AccountEvent::*;
//! # #[derive(Debug, Default, Aggregate)]
//! # #[aggregate(category = "account", event = AccountEvent)]
//! # struct Account { balance: u64 }
//! # impl Apply<AccountEvent> for Account {
//! #     fn apply(&mut self, event: AccountEvent) {
//! #         match event {
//! #             AccountOpened { .. } => {}
//! #             MoneyDeposited { amount } => self.balance += amount,
//! #             MoneyWithdrawn { amount } => self.balance -= amount,
//! #         }
//! #     }
//! # }
//! # #[derive(Clone, Debug)] struct Withdraw { amount: u64 }
//! # #[derive(Debug, PartialEq, thiserror::Error)] #[error("only {held} is held")] struct InsufficientFunds { held: u64 }
//! # impl Command<Account> for Withdraw {
//! #     type Error = InsufficientFunds;
//! #     fn field_errors(&self) -> FieldErrors {
//! #         FieldErrors::none().check(self.amount > 0, "amount", "range", "withdraw something")
//! #     }
//! #     fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, InsufficientFunds> {
//! #         let held = account.balance;
//! #         if self.amount > held { return Err(InsufficientFunds { held }) }
//! #         Ok(vec![MoneyWithdrawn { amount: self.amount }])
//! #     }
//! # }
//! use annals::testing::{given, given_nothing};
//!
//! let history = || [AccountOpened { owner: "Ada".into() }, MoneyDeposited { amount: 100 }];
//!
//! given::<Account>(history())
//!     .when(Withdraw { amount: 30 })
//!     .then([MoneyWithdrawn { amount: 30 }])
//!     .then_state(|account| assert_eq!(account.balance, 70));
//!
//! given::<Account>(history())
//!     .when(Withdraw { amount: 300 })
//!     .then_refused(InsufficientFunds { held: 100 });
//!
//! given_nothing::<Account>().when(Withdraw { amount: 0 }).then_invalid(["amount"]);
//! ```
//!
//! A command goes the way it goes in [`execute`](crate::Annals::execute), on a store in memory:
//! it is validated, the given events are read as they were stored, it is authorised, it decides,
//! and what it decided is encoded and appended. So a test also sees an event that cannot be read
//! back, or a tag that is none. Ids are 1, 2, 3 …, and it is always the same moment, [`now`].
//!
//! [Decisions](crate::Decision) are tested in the same way, with [`given_log`]. Events in older
//! shapes, or of other programs, are given as they are stored, with [`given_stored`].
//!
//! Projections are tested with [`project`]: given events, then rows. Inboxes are tested with
//! [`deliver`]: given events, then deliveries, attempts and dead letters, with time under control.
//!
//! Process managers are tested with [`given_process`]: when an event, a deadline or the outcome of a
//! command, then events, commands and deadlines.
//!
//! What must hold whatever happens is an [`invariant`]; that events are read as they were written
//! is what [`round_trips`] shows. Both try many cases and tell the smallest that fails.

mod cases;
mod derived;
mod failure;
mod given;
mod invariant;
mod outcome;
mod process;
mod reacting;
mod round_trip;
mod stored;
mod world;

pub use derived::{Projected, project};
pub use given::{Given, GivenLog, given, given_empty_log, given_log, given_nothing, given_stored};
pub use invariant::{Sequences, Step, invariant};
pub use outcome::Outcome;
pub use process::{GivenProcess, Reacted, given_process};
pub use reacting::{Delivered, deliver};
pub use round_trip::round_trips;
pub use world::now;
