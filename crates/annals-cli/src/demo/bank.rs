//! The bank: accounts, what happens to them, and what may be asked of them.

use annals::{Aggregate, Append, Apply, Command, Event, ExecuteError, ExpectedVersion, Loaded};

/// What happens to an account. Amounts are in cents.
#[derive(Debug, Event)]
pub(crate) enum AccountEvent {
    AccountOpened {
        owner: String,
        #[event(tag = "branch")]
        branch: u32,
    },
    MoneyDeposited {
        amount: u64,
    },
    MoneyWithdrawn {
        amount: u64,
    },
    TransferReceived {
        #[event(tag = "transfer")]
        transfer: String,
        from: u32,
        amount: u64,
    },
    TransferSent {
        #[event(tag = "transfer")]
        transfer: String,
        to: u32,
        amount: u64,
    },
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
pub(crate) struct Account {
    is_open: bool,
    balance: u64,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::AccountOpened { .. } => self.is_open = true,
            AccountEvent::MoneyDeposited { amount }
            | AccountEvent::TransferReceived { amount, .. } => {
                self.balance = self.balance.saturating_add(amount);
            }
            AccountEvent::MoneyWithdrawn { amount } | AccountEvent::TransferSent { amount, .. } => {
                self.balance = self.balance.saturating_sub(amount);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the account is not open")]
    NotOpen,
    #[error("only {balance} of {amount} cents are there")]
    Overdraft { balance: u64, amount: u64 },
}

/// Opens an account; one that is open stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) owner: String,
    pub(crate) branch: u32,
    pub(crate) first_deposit: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Deposit {
    pub(crate) amount: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Withdraw {
    pub(crate) amount: u64,
}

impl Command<Account> for Open {
    type Error = Refusal;

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        if account.is_open {
            return Ok(Vec::new());
        }
        let Self { owner, branch, first_deposit: amount } = self;
        Ok(vec![
            AccountEvent::AccountOpened { owner, branch },
            AccountEvent::MoneyDeposited { amount },
        ])
    }
}

impl Command<Account> for Deposit {
    type Error = Refusal;

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        account.must_be_open()?;
        let amount = self.amount;
        Ok(vec![AccountEvent::MoneyDeposited { amount }])
    }
}

impl Command<Account> for Withdraw {
    type Error = Refusal;

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        let amount = self.amount;
        account.must_hold(amount)?;
        Ok(vec![AccountEvent::MoneyWithdrawn { amount }])
    }
}

impl Account {
    fn must_be_open(&self) -> Result<(), Refusal> {
        if self.is_open { Ok(()) } else { Err(Refusal::NotOpen) }
    }

    fn must_hold(&self, amount: u64) -> Result<(), Refusal> {
        self.must_be_open()?;
        let balance = self.balance;
        if amount > balance {
            return Err(Refusal::Overdraft { balance, amount });
        }
        Ok(())
    }
}

/// Money on its way from one account to another.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) id: String,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: u64,
}

impl Transfer {
    /// The append that takes the money out of the one account and puts it into the other, both
    /// or neither, as long as neither has changed since it was loaded.
    pub(crate) fn decide(
        &self,
        from: Loaded<Account>,
        to: Loaded<Account>,
    ) -> Result<Append, ExecuteError<Refusal>> {
        from.state
            .must_hold(self.amount)
            .and_then(|()| to.state.must_be_open())
            .map_err(ExecuteError::Refused)?;
        let sent = AccountEvent::TransferSent {
            transfer: self.id.clone(),
            to: self.to,
            amount: self.amount,
        };
        let received = AccountEvent::TransferReceived {
            transfer: self.id.clone(),
            from: self.from,
            amount: self.amount,
        };
        let as_loaded = |loaded: &Loaded<Account>| ExpectedVersion::Exact(loaded.version);
        let (from_expected, to_expected) = (as_loaded(&from), as_loaded(&to));
        Ok(Append::to(from.stream, from_expected, [sent.encode()?]).and_to(
            to.stream,
            to_expected,
            [received.encode()?],
        ))
    }
}
