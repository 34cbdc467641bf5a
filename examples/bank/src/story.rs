//! The story of the third seed: three days in the life of an account, and what can be asked
//! about them afterwards.

use std::io::Write;
use std::sync::Arc;

use annals::{Annals, ExecuteError, Limits, ManualClock, MemoryStore, Timestamp, Version};
use bank::account::{Account, AccountCommand};
use bank::cents::Cents;
use futures_util::TryStreamExt;

use crate::teller::{Failure, as_line};

const ACCOUNT: &str = "ACC_123";
const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

const TRY_NEXT: &str = "
Now yours, kept in bank.db in this directory:
  cargo run -q -p bank -- open ACC_123 --owner Ada
  cargo run -q -p bank -- deposit ACC_123 100
  cargo run -q -p bank -- withdraw ACC_123 80
  cargo run -q -p bank -- withdraw ACC_123 30
  cargo run -q -p bank -- history ACC_123
  cargo run -q -p bank -- balance ACC_123 --version 2
  cargo run -q -p bank -- help";

/// Tells it on a store in memory, whose clock is moved on from day to day.
pub(crate) async fn tell(out: &mut impl Write) -> Result<(), Failure> {
    let first_day = Timestamp::from_micros(1_772_355_600_000_000);
    let clock = Arc::new(ManualClock::at(first_day));
    let bank = Annals::new(MemoryStore::with(clock.clone(), Limits::DEFAULT));

    writeln!(out, "What happens to {ACCOUNT}:")?;
    act(&bank, "day 1, opened by Ada  ", open("Ada"), out).await?;
    clock.set(first_day.saturating_add(DAY));
    act(&bank, "day 2, 100.00 put in  ", deposit(10_000), out).await?;
    clock.set(first_day.saturating_add(2 * DAY));
    act(&bank, "day 3, 50.00 taken out", withdraw(5_000), out).await?;
    act(&bank, "day 3, 80.00 asked for", withdraw(8_000), out).await?;

    writeln!(out, "\nWhy it holds 50.00, and not another 50.00:")?;
    let history: Vec<_> = bank.history::<Account>(ACCOUNT).try_collect().await?;
    for past in &history {
        writeln!(out, "{}", as_line(past))?;
    }

    writeln!(out, "\nWhat it held:")?;
    let after_two = bank.load_as_of::<Account>(ACCOUNT, Version::new(2)).await?;
    writeln!(out, "  {:>8}  after two events", held(&after_two.state))?;
    for hours in [12, 36, 60] {
        let moment = first_day.saturating_add(hours * DAY / 24);
        let then = bank.load_as_of::<Account>(ACCOUNT, moment).await?;
        writeln!(out, "  {:>8}  at {moment}", held(&then.state))?;
    }
    writeln!(out, "{TRY_NEXT}")?;
    Ok(())
}

async fn act(
    bank: &Annals,
    what: &str,
    command: AccountCommand,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match bank.execute(ACCOUNT, command).await {
        Ok(receipt) => writeln!(out, "  {what}  it holds {}", held(&receipt.state))?,
        Err(ExecuteError::Refused(refusal)) => writeln!(out, "  {what}  refused: {refusal}")?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn held(account: &Account) -> Cents {
    Cents(account.balance.unwrap_or(0))
}

fn open(owner: &str) -> AccountCommand {
    let owner = owner.to_owned();
    AccountCommand::Open { owner }
}

fn deposit(amount: u64) -> AccountCommand {
    AccountCommand::Deposit { amount }
}

fn withdraw(amount: u64) -> AccountCommand {
    AccountCommand::Withdraw { amount }
}
