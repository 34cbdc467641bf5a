//! What a customer has with the shop in advance, in cents.

use annals::{Aggregate, Apply, Command, Event, FieldErrors, Projection, RecordedEvent, RowKey};
use serde::{Deserialize, Serialize};
use validator::Validate;

use self::AccountEvent::{FundsDeposited, FundsWithdrawn};
use crate::invoice::AMOUNT_MAX;
use crate::whole::whole;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum AccountEvent {
    FundsDeposited { amount: u64 },
    FundsWithdrawn { amount: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
pub struct Account {
    pub balance: u64,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        self.balance = match event {
            FundsDeposited { amount } => self.balance.saturating_add(amount),
            FundsWithdrawn { amount } => self.balance.saturating_sub(amount),
        };
    }
}

/// Pays in advance.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Deposit {
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = AMOUNT_MAX))]
    pub amount: u64,
}

/// Takes some of it back.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Withdraw {
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = AMOUNT_MAX))]
    pub amount: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefusal {
    #[error("only {balance} are in the account")]
    InsufficientFunds { balance: u64 },
    #[error("that is more than an account can hold")]
    TooMuch,
}
use AccountRefusal::{InsufficientFunds, TooMuch};

impl Command<Account> for Deposit {
    type Error = AccountRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, AccountRefusal> {
        let held = account.balance.checked_add(self.amount).ok_or(TooMuch)?;
        if held > AMOUNT_MAX {
            return Err(TooMuch);
        }
        Ok(vec![FundsDeposited { amount: self.amount }])
    }
}

impl Command<Account> for Withdraw {
    type Error = AccountRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, AccountRefusal> {
        let balance = account.balance;
        if self.amount > balance {
            return Err(InsufficientFunds { balance });
        }
        Ok(vec![FundsWithdrawn { amount: self.amount }])
    }
}

/// The balances of all accounts, to be listed. A row may be below 0: when it is made only of what
/// came after some position, it says what was moved since.
#[derive(Debug)]
pub struct AccountBalances;

impl Projection for AccountBalances {
    type Event = AccountEvent;
    type Row = i64;
    const NAME: &'static str = "balances";

    fn apply(
        &self,
        _: &RowKey,
        balance: Option<i64>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<i64> {
        let balance = balance.unwrap_or(0);
        Some(match event {
            FundsDeposited { amount } => balance.saturating_add_unsigned(*amount),
            FundsWithdrawn { amount } => balance.saturating_sub_unsigned(*amount),
        })
    }
}
