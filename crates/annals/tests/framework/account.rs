//! The domain of these tests: an account that also shows validation and a command that has
//! nothing to do.

use annals::{Aggregate, Apply, Command, Event, FieldErrors};

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum AccountEvent {
    AccountOpened { owner: String },
    MoneyDeposited { amount: u64 },
    MoneyWithdrawn { amount: u64 },
    OwnerRenamed { owner: String },
}

#[derive(Clone, Debug, Default, PartialEq, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
pub(crate) struct Account {
    pub(crate) owner: Option<String>,
    pub(crate) balance: u64,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::AccountOpened { owner } | AccountEvent::OwnerRenamed { owner } => {
                self.owner = Some(owner);
            }
            AccountEvent::MoneyDeposited { amount } => {
                self.balance = self.balance.saturating_add(amount);
            }
            AccountEvent::MoneyWithdrawn { amount } => {
                self.balance = self.balance.saturating_sub(amount);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum AccountCommand {
    Open { owner: String },
    Deposit { amount: u64 },
    Withdraw { amount: u64 },
    Rename { owner: String },
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the account is open already")]
    AlreadyOpen,
    #[error("only {held} is in the account")]
    InsufficientFunds { held: u64 },
    #[error("the account is not open; open it first")]
    NotOpen,
    #[error("that is more than an account can hold")]
    TooMuch,
}

impl Command<Account> for AccountCommand {
    type Error = Refusal;

    fn field_errors(&self) -> FieldErrors {
        let nothing = matches!(self, Self::Deposit { amount: 0 } | Self::Withdraw { amount: 0 });
        FieldErrors::none().check(!nothing, "amount", "range", "must be 1 or more")
    }

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        let held = account.balance;
        match self {
            Self::Open { .. } if account.owner.is_some() => Err(Refusal::AlreadyOpen),
            Self::Open { owner } => Ok(vec![AccountEvent::AccountOpened { owner }]),
            _ if account.owner.is_none() => Err(Refusal::NotOpen),
            Self::Deposit { amount } if held.checked_add(amount).is_none() => Err(Refusal::TooMuch),
            Self::Deposit { amount } => Ok(vec![AccountEvent::MoneyDeposited { amount }]),
            Self::Withdraw { amount } if amount > held => Err(Refusal::InsufficientFunds { held }),
            Self::Withdraw { amount } => Ok(vec![AccountEvent::MoneyWithdrawn { amount }]),
            Self::Rename { owner } if account.owner.as_ref() == Some(&owner) => Ok(vec![]),
            Self::Rename { owner } => Ok(vec![AccountEvent::OwnerRenamed { owner }]),
        }
    }
}

pub(crate) fn open(owner: &str) -> AccountCommand {
    AccountCommand::Open { owner: owner.to_owned() }
}

pub(crate) fn deposit(amount: u64) -> AccountCommand {
    AccountCommand::Deposit { amount }
}

pub(crate) fn withdraw(amount: u64) -> AccountCommand {
    AccountCommand::Withdraw { amount }
}
