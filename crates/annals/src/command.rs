//! Requests that may be refused.

use std::error::Error;

use crate::{Aggregate, Context, Denied, FieldErrors, RetryPolicy};

/// A request to the aggregate `A` that may be refused.
///
/// A struct for each command, or an enum of all commands that belong together: both are
/// commands. Which of the aggregates is meant is said when it is
/// [executed](crate::Annals::execute).
///
/// It is refused in layers, each with an answer of its own: [`field_errors`](Self::field_errors)
/// for what can be checked without the state, [`authorise`](Self::authorise) who asks for it, and
/// [`decide`](Self::decide) what the domain says.
///
/// ```
/// # use annals::{Aggregate, Apply, Context, Denied, Event};
/// # #[derive(Debug, Event)] enum AccountEvent { MoneyWithdrawn { amount: u64 } }
/// # #[derive(Default, Aggregate)]
/// # #[aggregate(category = "account", event = AccountEvent)]
/// # struct Account { balance: u64, owner: String }
/// # impl Apply<AccountEvent> for Account { fn apply(&mut self, event: AccountEvent) {} }
/// use annals::{Command, FieldErrors};
/// use validator::Validate;
///
/// #[derive(Clone, Validate)]
/// struct Withdraw {
///     #[validate(range(min = 1, message = "withdraw more than nothing"))]
///     amount: u64,
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// enum Refusal {
///     #[error("only {balance} is left")]
///     InsufficientFunds { balance: u64 },
/// }
///
/// impl Command<Account> for Withdraw {
///     type Error = Refusal;
///
///     fn field_errors(&self) -> FieldErrors {
///         FieldErrors::of(self)
///     }
///
///     fn authorise(&self, account: &Account, context: &Context) -> Result<(), Denied> {
///         Denied::unless(context.who() == Some(&account.owner), "only the owner may withdraw")
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
/// let account = Account { balance: 20, owner: "ada".into() };
/// let refusal = Withdraw { amount: 50 }.decide(&account).unwrap_err();
/// assert_eq!(refusal.to_string(), "only 20 is left");
/// let invalid = Withdraw { amount: 0 }.field_errors();
/// assert_eq!(invalid.to_string(), "amount: withdraw more than nothing");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command to `{A}`",
    label = "needs `impl Command<{A}> for {Self}`",
    note = "write `impl annals::Command<{A}> for {Self} {{ type Error = ..; fn decide(self, state: &{A}) -> Result<Vec<..>, Self::Error> {{ .. }} }}`"
)]
pub trait Command<A: Aggregate>: Clone + Send + Sync {
    /// Why the domain may refuse it.
    type Error: Error + Send + Sync + 'static;

    /// What is wrong with it whatever the state, found before anything is loaded: by the rules of
    /// each field and those across fields. By default nothing ever is.
    fn field_errors(&self) -> FieldErrors {
        FieldErrors::none()
    }

    /// Checks whether whoever asks may do so with this state.
    ///
    /// # Errors
    /// When the context does not permit the command. By default everybody may.
    fn authorise(&self, state: &A, context: &Context) -> Result<(), Denied> {
        let _ = (state, context);
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

    /// How often this command is tried when others are faster; `None` for as often as
    /// [everything else](crate::Annals::with_retry).
    fn retry(&self) -> Option<RetryPolicy> {
        None
    }
}
