//! Requests that may be refused.

use std::error::Error;

use crate::Aggregate;

/// A request to the aggregate `A` that may be refused.
///
/// A struct for each command, or an enum of all commands that belong together: both are
/// commands. Which of the aggregates is meant is said when it is
/// [executed](crate::Annals::execute).
///
/// ```
/// # use annals::{Aggregate, Apply, Command, Event};
/// # #[derive(Debug, Event)] enum AccountEvent { MoneyWithdrawn { amount: u64 } }
/// # #[derive(Default, Aggregate)]
/// # #[aggregate(category = "account", event = AccountEvent)]
/// # struct Account { balance: u64 }
/// # impl Apply<AccountEvent> for Account { fn apply(&mut self, event: AccountEvent) {} }
/// #[derive(Clone)]
/// struct Withdraw {
///     amount: u64,
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// enum Refusal {
///     #[error("only {balance} is left")]
///     InsufficientFunds { balance: u64 },
///     #[error("withdraw more than nothing")]
///     Nothing,
/// }
///
/// impl Command<Account> for Withdraw {
///     type Error = Refusal;
///
///     fn validate(&self) -> Result<(), Refusal> {
///         if self.amount == 0 { Err(Refusal::Nothing) } else { Ok(()) }
///     }
///
///     fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
///         if self.amount > account.balance {
///             return Err(Refusal::InsufficientFunds { balance: account.balance });
///         }
///         Ok(vec![AccountEvent::MoneyWithdrawn { amount: self.amount }])
///     }
/// }
///
/// let refusal = Withdraw { amount: 50 }.decide(&Account { balance: 20 }).unwrap_err();
/// assert_eq!(refusal.to_string(), "only 20 is left");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command to `{A}`",
    label = "needs `impl Command<{A}> for {Self}`",
    note = "write `impl annals::Command<{A}> for {Self} {{ type Error = ..; fn decide(self, state: &{A}) -> Result<Vec<..>, Self::Error> {{ .. }} }}`"
)]
pub trait Command<A: Aggregate>: Clone + Send {
    /// Why it may be refused.
    type Error: Error + Send + Sync + 'static;

    /// Checks what can be checked without the state, before anything is loaded.
    ///
    /// # Errors
    /// When the command is wrong whatever the state. By default it never is.
    fn validate(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// What happens, given the state: the events to record, in order; none when there is
    /// nothing to do.
    ///
    /// Pure, because it is asked again when the state turns out to have changed meanwhile.
    ///
    /// # Errors
    /// When the state does not permit the command.
    fn decide(self, state: &A) -> Result<Vec<A::Event>, Self::Error>;
}
