//! The bank's customers: what they ask for, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::{Annals, Command, ExecuteError};
use annals_core::AppendError;
use futures_util::{StreamExt, future, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, interval, sleep};

use super::bank::{Account, Deposit, Open, Refusal, Transfer, Withdraw};

/// Tellers, each serving one customer after the other.
const TELLERS: u64 = 8;
/// Accounts that are opened at the same time.
const OPENINGS: usize = 64;
/// What tellers do without pause in a new bank, so that there is something to see.
const FIRST_REQUESTS: u64 = 400;
/// How often a transfer is decided before the customer is sent away.
const TRANSFER_ATTEMPTS_MAX: u32 = 20;
/// How long a teller waits when the store cannot answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

const OWNERS: [&str; 12] = [
    "Ada",
    "Barbara",
    "Charles",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ida",
    "Joan",
    "Katherine",
    "Leslie",
];

/// What came of the requests so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A bank that is busy.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) bank: Annals,
    pub(crate) accounts: u32,
    pub(crate) seed: u64,
    pub(crate) tally: Arc<Tally>,
}

impl Feed {
    /// Opens the accounts; those that are open stay as they are.
    pub(crate) async fn open_accounts(&self) -> Result<(), ExecuteError<Refusal>> {
        let mut chance = StdRng::seed_from_u64(self.seed);
        let openings = (1..=self.accounts).map(|account| {
            let open = Open {
                owner: OWNERS[chance.random_range(0..OWNERS.len())].to_owned(),
                branch: chance.random_range(1..=5),
                first_deposit: chance.random_range(50..=500) * 100,
            };
            self.bank.execute::<Account, _>(account, open).into_future()
        });
        let mut openings = stream::iter(openings).buffer_unordered(OPENINGS);
        while let Some(opened) = openings.next().await {
            opened?;
        }
        Ok(())
    }

    /// Serves customers as fast as the store can, so that a new bank has a past.
    pub(crate) async fn make_a_past(&self) {
        let mut teller = Teller::new(self.clone(), TELLERS);
        for _ in 0..FIRST_REQUESTS {
            teller.serve_next().await;
        }
    }

    /// Serves `rate` customers a second until told to stop.
    pub(crate) async fn run(&self, rate: u32, stopping: watch::Receiver<bool>) {
        let pace = interval(Duration::from_secs(1) / rate);
        let pace = Arc::new(Mutex::new(pace));
        let mut tellers = JoinSet::new();
        for number in 0..TELLERS {
            let teller = Teller::new(self.clone(), number);
            tellers.spawn(teller.work(Arc::clone(&pace), stopping.clone()));
        }
        tellers.join_all().await;
    }
}

struct Teller {
    feed: Feed,
    chance: StdRng,
}

impl Teller {
    fn new(feed: Feed, number: u64) -> Self {
        let chance = StdRng::seed_from_u64(feed.seed.wrapping_add(number + 1));
        Self { feed, chance }
    }

    async fn work(mut self, pace: Arc<Mutex<Interval>>, mut stopping: watch::Receiver<bool>) {
        loop {
            let next_customer = async { pace.lock().await.tick().await };
            tokio::select! {
                _ = next_customer => {}
                () = super::told(&mut stopping) => return,
            }
            self.serve_next().await;
        }
    }

    async fn serve_next(&mut self) {
        let account = self.account();
        match self.chance.random_range(0..100) {
            0..40 => {
                let amount = self.cents(1, 200);
                self.execute(account, Deposit { amount }).await;
            }
            40..70 => {
                let amount = self.cents(1, 400);
                self.execute(account, Withdraw { amount }).await;
            }
            70..90 => {
                let transfer = Transfer {
                    id: format!("T{:08x}", self.chance.random::<u32>()),
                    from: account,
                    to: self.other_than(account),
                    amount: self.cents(1, 300),
                };
                self.transfer(transfer).await;
            }
            // Three cards of one account, used at the same moment.
            _ => {
                let amount = self.cents(50, 300);
                let withdraw = Withdraw { amount };
                future::join3(
                    self.execute(account, withdraw.clone()),
                    self.execute(account, withdraw.clone()),
                    self.execute(account, withdraw),
                )
                .await;
            }
        }
    }

    /// Some accounts are busier than others.
    fn account(&mut self) -> u32 {
        let accounts = self.feed.accounts;
        let busy = accounts.min(5);
        let most = if self.chance.random_bool(0.3) { busy } else { accounts };
        self.chance.random_range(1..=most)
    }

    fn other_than(&mut self, account: u32) -> u32 {
        let other = self.chance.random_range(1..self.feed.accounts);
        if other < account { other } else { other + 1 }
    }

    fn cents(&mut self, least: u64, most: u64) -> u64 {
        self.chance.random_range(least..=most) * 100
    }

    async fn execute<C>(&self, account: u32, command: C)
    where
        C: Command<Account, Error = Refusal>,
    {
        let executed = self.feed.bank.execute(account, command).await;
        self.settle(executed.map(|_| ())).await;
    }

    async fn transfer(&self, transfer: Transfer) {
        let mut attempts = 1;
        let outcome = loop {
            match self.try_transfer(&transfer).await {
                Err(ExecuteError::Append(AppendError::Conflict(_)))
                    if attempts < TRANSFER_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                }
                outcome => break outcome,
            }
        };
        self.settle(outcome).await;
    }

    async fn try_transfer(&self, transfer: &Transfer) -> Result<(), ExecuteError<Refusal>> {
        let bank = &self.feed.bank;
        let append =
            transfer.decide(bank.load(transfer.from).await?, bank.load(transfer.to).await?)?;
        bank.store().append(append).await.map_err(ExecuteError::Append)?;
        Ok(())
    }

    /// Counts what came of a request. Events that visitors append to an account by hand may be
    /// none that the bank knows; its other accounts go on.
    async fn settle(&self, outcome: Result<(), ExecuteError<Refusal>>) {
        let tally = &self.feed.tally;
        let (count, is_stuck) = match &outcome {
            Ok(()) => (&tally.done, false),
            Err(ExecuteError::Refused(_)) => (&tally.refused, false),
            Err(error) => (&tally.failed, error.code() == "unavailable"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if is_stuck {
            sleep(STORE_PAUSE).await;
        }
    }
}
