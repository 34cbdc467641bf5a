//! Random commands on a few accounts, beside the plainest model of a bank there is.

use std::collections::HashMap;

use annals::{Annals, ExecuteError, MemoryStore, Version};
use proptest::prelude::*;

use crate::account::{Account, AccountCommand, Refusal};

/// An account's balance, once it is open, and how many events it should have.
#[derive(Clone, Debug, Default)]
struct Model {
    balance: Option<u64>,
    events: u64,
}

impl Model {
    /// `None` in the error for a command that is wrong whatever the state.
    fn execute(&mut self, command: &AccountCommand) -> Result<(), Option<Refusal>> {
        let balance = match (command, self.balance) {
            (AccountCommand::Deposit { amount: 0 } | AccountCommand::Withdraw { amount: 0 }, _) => {
                return Err(None);
            }
            (AccountCommand::Open { .. }, Some(_)) => return Err(Some(Refusal::AlreadyOpen)),
            (AccountCommand::Open { .. }, None) => 0,
            (_, None) => return Err(Some(Refusal::NotOpen)),
            // Everybody is called Ada here, so there is never anything to rename.
            (AccountCommand::Rename { .. }, Some(_)) => return Ok(()),
            (AccountCommand::Deposit { amount }, Some(held)) => {
                held.checked_add(*amount).ok_or(Some(Refusal::TooMuch))?
            }
            (AccountCommand::Withdraw { amount }, Some(held)) => {
                held.checked_sub(*amount).ok_or(Some(Refusal::InsufficientFunds { held }))?
            }
        };
        self.balance = Some(balance);
        self.events += 1;
        Ok(())
    }
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..200_u64, 1 => (u64::MAX - 100)..=u64::MAX]
}

fn command() -> impl Strategy<Value = AccountCommand> {
    let owner = || "Ada".to_owned();
    prop_oneof![
        2 => Just(AccountCommand::Open { owner: owner() }),
        5 => amount().prop_map(|amount| AccountCommand::Deposit { amount }),
        5 => amount().prop_map(|amount| AccountCommand::Withdraw { amount }),
        1 => Just(AccountCommand::Rename { owner: owner() }),
    ]
}

proptest! {
    #[test]
    fn accounts_do_as_the_model_does(
        commands in prop::collection::vec((0..3_u8, command()), 0..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bank = Annals::new(MemoryStore::new());
            let mut models: HashMap<u8, Model> = HashMap::new();
            for (id, command) in commands {
                let model = models.entry(id).or_default();
                let expected = model.execute(&command);
                let actual = match bank.execute(id, command).await {
                    Ok(receipt) => {
                        prop_assert_eq!(Some(receipt.state.balance), model.balance);
                        Ok(())
                    }
                    Err(ExecuteError::Refused(refusal)) => Err(Some(refusal)),
                    Err(ExecuteError::Invalid(_)) => Err(None),
                    Err(error) => panic!("{error:?}"),
                };
                prop_assert_eq!(actual, expected);
            }
            for (id, model) in models {
                let account = bank.load::<Account>(id).await.unwrap();
                prop_assert_eq!(account.state.balance, model.balance.unwrap_or(0));
                prop_assert_eq!(account.version, Version::new(model.events));
            }
            Ok(())
        })?;
    }
}
