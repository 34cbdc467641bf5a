//! The domain: what can happen, what an account is, and what may be asked of it.
//!
//! Amounts are cents. An account has no balance until it is opened.

use annals::{Aggregate, Apply, Command, Event};

use self::{AccountCommand::*, AccountEvent::*};
use crate::refusal::Refusal::{self, *};

#[derive(Clone, Debug, PartialEq, Event)]
pub enum AccountEvent {
    AccountOpened { owner: String },
    MoneyDeposited { amount: u64 },
    MoneyWithdrawn { amount: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
pub struct Account {
    pub balance: Option<u64>,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        self.balance = match event {
            AccountOpened { .. } => Some(0),
            MoneyDeposited { amount } => self.balance.map(|held| held.saturating_add(amount)),
            MoneyWithdrawn { amount } => self.balance.map(|held| held.saturating_sub(amount)),
        };
    }
}

#[derive(Clone, Debug)]
pub enum AccountCommand {
    Open { owner: String },
    Deposit { amount: u64 },
    Withdraw { amount: u64 },
}

impl Command<Account> for AccountCommand {
    type Error = Refusal;

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        match (self, account.balance) {
            (Open { owner }, None) => Ok(vec![AccountOpened { owner }]),
            (Open { .. }, Some(_)) => Err(AlreadyOpen),
            (_, None) => Err(NotOpen),
            (Deposit { amount }, Some(held)) if held.checked_add(amount).is_none() => Err(TooMuch),
            (Deposit { amount }, Some(_)) => Ok(vec![MoneyDeposited { amount }]),
            (Withdraw { amount }, Some(held)) if amount > held => Err(InsufficientFunds { held }),
            (Withdraw { amount }, Some(_)) => Ok(vec![MoneyWithdrawn { amount }]),
        }
    }
}
