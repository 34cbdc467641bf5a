//! Many who restock and take one item at the same moment, and what the log says afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals::{
    Annals, Command, EventId, ExecuteError, FieldErrors, LoadError, Metadata, RecordedEvent,
};
use futures_util::TryStreamExt;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::item::ItemEvent::{ItemPriced, ItemRestocked, ItemTaken};
use crate::item::{InventoryItem, ItemEvent, ItemRefusal, Restock, SetPrice, Take};
use crate::naming::Sku;
use crate::shop::Shop;

/// How often each of them acts.
const ACTIONS: u32 = 4;
/// Those who take want more than those who restock bring, so that some are refused.
const OPENING: u64 = 100;
const RESTOCKED: u64 = 1;
const TAKEN: u64 = 2;
const PRICE: u64 = 100;
/// How many faults are told; one is enough to look further.
const FAULTS_SHOWN: usize = 5;

/// What came of a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub struct Stormed {
    pub sku: String,
    pub tasks: u32,
    pub restocked: u64,
    pub taken: u64,
    pub refused: u64,
    /// How often somebody decided again, because another was faster.
    pub retries: u64,
    pub took: Duration,
    /// What the log holds, read event by event.
    pub log: Log,
    /// What it should hold, and does not, or twice.
    pub faults: Vec<String>,
}

/// What the log says about the item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub struct Log {
    pub successes: u64,
    pub lowest: i64,
    pub stock: i64,
}

/// Why there was none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotStormed {
    /// A command failed for another reason than a refusal.
    #[error("a command was not executed")]
    Execute(#[from] ExecuteError<ItemRefusal>),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Load(#[from] LoadError),
}

/// Lets so many tasks restock and take a new item, all beginning at the same moment.
///
/// # Errors
/// [`NotStormed`].
pub async fn storm(shop: &Shop, tasks: u32) -> Result<Stormed, NotStormed> {
    let sku = Sku::from(new_sku());
    let set_price = SetPrice { sku: sku.clone(), price: PRICE };
    shop.annals().execute::<InventoryItem, _>(sku.clone(), set_price).await?;
    let restock = Restock { quantity: OPENING };
    shop.annals().execute::<InventoryItem, _>(sku.clone(), restock).await?;

    let (start, retries) = (Arc::new(Barrier::new(tasks as usize)), Arc::default());
    let began = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (annals, start) = (shop.annals().clone(), Arc::clone(&start));
        let actor = Actor { task, annals, sku: sku.clone(), retries: Arc::clone(&retries) };
        running.spawn(async move {
            start.wait().await;
            actor.act().await
        });
    }
    let mut done = Done::default();
    for actor in running.join_all().await {
        done.add(actor?);
    }
    let took = began.elapsed();
    let (log, faults) = compare(shop.annals(), &sku, &done).await?;
    let Done { restocked, taken, refused, .. } = done;
    let retries = retries.load(Ordering::Relaxed);
    let sku = sku.to_string();
    Ok(Stormed { sku, tasks, restocked, taken, refused, retries, took, log, faults })
}

/// One that no earlier storm had.
fn new_sku() -> String {
    let id = EventId::generate().to_string();
    format!("STORM-{}", id.rsplit('-').next().unwrap_or(&id))
}

/// One of the tasks.
struct Actor {
    task: u32,
    annals: Annals,
    sku: Sku,
    retries: Arc<AtomicU64>,
}

/// What was answered.
#[derive(Default)]
struct Done {
    /// The ids of the commands that succeeded.
    succeeded: BTreeSet<String>,
    restocked: u64,
    taken: u64,
    refused: u64,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.succeeded.extend(other.succeeded);
        self.restocked += other.restocked;
        self.taken += other.taken;
        self.refused += other.refused;
    }
}

impl Actor {
    /// Half of them restock, and half of them take.
    async fn act(self) -> Result<Done, ExecuteError<ItemRefusal>> {
        let mut done = Done::default();
        for action in 0..ACTIONS {
            let id = format!("{}/{}/{action}", self.sku, self.task);
            let executed = if self.task.is_multiple_of(2) {
                self.execute(&id, Restock { quantity: RESTOCKED }).await
            } else {
                self.execute(&id, Take { quantity: TAKEN, price: PRICE }).await
            };
            match executed {
                Ok(()) if self.task.is_multiple_of(2) => done.restocked += 1,
                Ok(()) => done.taken += 1,
                Err(ExecuteError::Refused(_)) => {
                    done.refused += 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
            done.succeeded.insert(id);
        }
        Ok(done)
    }

    async fn execute<C>(&self, id: &str, command: C) -> Result<(), ExecuteError<ItemRefusal>>
    where
        C: Command<InventoryItem, Error = ItemRefusal>,
    {
        let decided = Arc::default();
        let counted = Counted { command, decided: Arc::clone(&decided) };
        let executed =
            self.annals.execute::<InventoryItem, _>(self.sku.clone(), counted).id(id).await;
        let again = decided.load(Ordering::Relaxed).saturating_sub(1);
        self.retries.fetch_add(again, Ordering::Relaxed);
        executed.map(drop)
    }
}

/// A command that counts how often it is decided.
#[derive(Clone)]
struct Counted<C> {
    command: C,
    decided: Arc<AtomicU64>,
}

impl<C: Command<InventoryItem>> Command<InventoryItem> for Counted<C> {
    type Error = C::Error;

    fn field_errors(&self) -> FieldErrors {
        self.command.field_errors()
    }

    fn decide(self, item: &InventoryItem) -> Result<Vec<ItemEvent>, C::Error> {
        self.decided.fetch_add(1, Ordering::Relaxed);
        self.command.decide(item)
    }
}

/// Reads what was recorded, event by event, and compares it with what was answered.
async fn compare(annals: &Annals, sku: &Sku, done: &Done) -> Result<(Log, Vec<String>), LoadError> {
    let mut log = Log { lowest: i64::MAX, ..Log::default() };
    let (mut faults, mut found) = (Vec::new(), BTreeSet::new());
    let mut history = annals.history::<InventoryItem>(sku.clone());
    while let Some(past) = history.try_next().await? {
        match past.event {
            ItemPriced { .. } => {}
            ItemRestocked { quantity } => {
                log.stock = log.stock.saturating_add_unsigned(quantity);
            }
            ItemTaken { quantity } => log.stock = log.stock.saturating_sub_unsigned(quantity),
        }
        // What was there at the beginning has none.
        let Some(id) = command_of(&past.stored) else { continue };
        log.lowest = log.lowest.min(log.stock);
        log.successes += 1;
        if !found.insert(id.clone()) {
            faults.push(format!("{id} is recorded twice"));
        }
    }
    let lost = done.succeeded.difference(&found).map(|id| format!("{id} is not recorded"));
    let refused = found.difference(&done.succeeded).map(|id| format!("{id} did not succeed"));
    faults.extend(lost.chain(refused));
    let stock = (OPENING + done.restocked * RESTOCKED).checked_sub(done.taken * TAKEN);
    if stock.and_then(|stock| i64::try_from(stock).ok()) != Some(log.stock) {
        faults.push(format!("{stock:?} should be in stock, and {} are", log.stock));
    }
    if log.lowest < 0 {
        faults.push(format!("the stock was {} for a while", log.lowest));
    }
    Ok((log, faults))
}

/// The id of the command that an event was recorded by, which is its cause.
fn command_of(stored: &RecordedEvent) -> Option<String> {
    let cause = stored.metadata.get(Metadata::CAUSATION)?;
    cause.as_str().map(str::to_owned)
}

impl fmt::Display for Stormed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sku, tasks, restocked, taken, refused, retries, took, log, faults } = self;
        writeln!(f, "{tasks} tasks, {ACTIONS} actions each, all on item {sku}, in {took:.1?}:")?;
        writeln!(f, "  {OPENING:>5}  in stock at the beginning")?;
        writeln!(f, "  {restocked:>5}  times {RESTOCKED} restocked")?;
        writeln!(f, "  {taken:>5}  times {TAKEN} taken")?;
        writeln!(f, "  {refused:>5}  times refused, because there were not enough")?;
        writeln!(f, "  {retries:>5}  times decided again, because another was faster")?;
        writeln!(f, "The log, event by event:")?;
        writeln!(f, "  {:>5}  successes", log.successes)?;
        writeln!(f, "  {:>5}  in stock at the end, {} at the lowest", log.stock, log.lowest)?;
        for fault in faults.iter().take(FAULTS_SHOWN) {
            writeln!(f, "  wrong: {fault}")?;
        }
        let agrees = if faults.is_empty() { "agrees" } else { "does not agree" };
        write!(f, "It {agrees}: every success once, and the stock never below 0")
    }
}
