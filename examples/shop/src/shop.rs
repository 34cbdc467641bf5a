//! The shop: its log, and what concerns more than one aggregate.

use std::path::Path;
use std::sync::Arc;

use annals::sqlite::OpenError;
use annals::{
    Annals, BatchError, Batched, Clock, EventId, EventStore, ExecuteError, LoadError, Loaded,
    MemorySnapshots, MemoryStore, Rebuilt, Receipt, RetryPolicy, SnapshotPolicy, SnapshotStore,
    SnapshotsError, SqliteStore, StreamId, SystemClock, Timestamp, Version,
};
use sha2::{Digest, Sha256};

use crate::invoice::{InvoiceRefusal, IssueInvoice};
use crate::item::{InventoryItem, SetPrice};
use crate::order::{CreateOrder, Order};
use crate::product::{Offer, Product};

/// How often something is decided while others are faster: dozens may want the same item.
const ATTEMPTS_MAX: u32 = 100;
/// How many events an item has between two snapshots.
const SNAPSHOT_EVENTS: u64 = 50;
/// How many items are kept in memory.
const CACHED_MAX: usize = 1_000;

/// The shop, on a log.
#[derive(Clone, Debug)]
pub struct Shop {
    annals: Annals,
    clock: Arc<dyn Clock>,
    file: Option<SqliteStore>,
}

/// An order that has been placed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placed {
    /// What it is called.
    pub id: String,
    /// The order as it was placed.
    pub order: Loaded<Order>,
    /// Where it and what it took are recorded.
    pub receipt: Receipt,
    /// Whether it had been placed before, by the same request.
    pub repeated: bool,
}

/// The invoice of an order.
#[derive(Debug)]
#[non_exhaustive]
pub struct Issued {
    /// What it is called: `2026-17`.
    pub id: String,
    /// Where it is recorded, unless it was there already.
    pub receipt: Option<Receipt>,
}

/// Why an order was not placed. Nothing was recorded, unless it is not known.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum NotPlaced {
    /// Something was wrong with it or with one of the items; which one is said by
    /// [`item`](NotPlaced::item).
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The key was given to another request before.
    #[error("the idempotency key was used for another request; give each its own")]
    KeyUsed,
    /// It was placed, but cannot be shown.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl NotPlaced {
    /// Which of the order's items was refused, counted from 0.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        // The order itself comes first.
        let Self::Batch(BatchError { part, .. }) = self else { return None };
        part.and_then(|part| part.checked_sub(1))
    }
}

impl Shop {
    /// A shop that is gone in the end.
    #[must_use]
    pub fn in_memory() -> Self {
        let annals = open(MemoryStore::new(), MemorySnapshots::new());
        Self { annals, clock: Arc::new(SystemClock), file: None }
    }

    /// The shop in a file, which is made when it is not there.
    ///
    /// # Errors
    /// When there is something else in the file, or it cannot be read or written.
    pub fn in_file(path: &Path) -> Result<Self, OpenError> {
        let store = SqliteStore::open(path)?;
        let annals = open(store.clone(), store.clone());
        Ok(Self { annals, clock: Arc::new(SystemClock), file: Some(store) })
    }

    /// Folds every item of a shop in a file from its first event and keeps a snapshot of it anew;
    /// `progress` is told how many. A shop in memory has nothing that is worth it.
    ///
    /// # Errors
    /// When the items cannot be listed.
    pub async fn rebuild_snapshots(
        &self,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Rebuilt, SnapshotsError> {
        let Some(file) = &self.file else { return Ok(Rebuilt::default()) };
        let told = |_: &StreamId, so_far: Rebuilt| progress(so_far.streams);
        self.annals.rebuild_snapshots::<InventoryItem>(file, told).await
    }

    /// The same with another clock, which says in which year an invoice is issued.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Its log.
    #[must_use]
    pub fn annals(&self) -> &Annals {
        &self.annals
    }

    /// Waits for what is under way, and closes the file.
    pub async fn close(&self) {
        self.annals.settled().await;
        if let Some(store) = &self.file {
            store.close().await;
        }
    }

    /// Places an order: records it and takes its items out of the inventory, or does neither.
    ///
    /// Under a key it is placed once, however often it is asked for.
    ///
    /// # Errors
    /// [`NotPlaced`].
    pub async fn place(&self, order: &CreateOrder, key: Option<&str>) -> Result<Placed, NotPlaced> {
        let id = order_id(key);
        let mut batch = self.annals.batch().execute::<Order, _>(&id, order.clone());
        for (sku, take) in order.takes() {
            batch = batch.execute(sku, take);
        }
        if let Some(key) = key {
            batch = batch.id(key);
        }
        let placed = batch.await.map_err(|error| match error.error {
            ExecuteError::CommandId { .. } => NotPlaced::KeyUsed,
            _ => error.into(),
        })?;
        let receipt = placed.appended.expect("an order is never nothing");
        let recorded = self.annals.load_as_of::<Order>(&id, Version::FIRST).await?;
        if !order.is(&recorded.state) {
            return Err(NotPlaced::KeyUsed);
        }
        Ok(Placed { id, order: recorded, receipt, repeated: placed.repeated })
    }

    /// Puts a product into the catalogue, or offers it for another price, which its item then
    /// costs; does both or neither.
    ///
    /// # Errors
    /// [`BatchError`].
    pub async fn offer(&self, offer: Offer, key: Option<&str>) -> Result<Batched, BatchError> {
        let sku = offer.sku.clone();
        let set_price = SetPrice { sku: sku.clone(), price: offer.price };
        let batch = self.annals.batch().execute::<Product, _>(sku.clone(), offer);
        let mut batch = batch.execute::<InventoryItem, _>(sku, set_price);
        if let Some(key) = key {
            batch = batch.id(key);
        }
        batch.await
    }

    /// Issues the invoice for an order, unless it has one.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn issue_invoice(
        &self,
        order_id: &str,
    ) -> Result<Issued, ExecuteError<InvoiceRefusal>> {
        let year = year_of(self.clock.now());
        let issue = IssueInvoice { order_id: order_id.to_owned(), year };
        let decided = self.annals.decide(issue).await?;
        let (_, invoiced, _) = decided.model;
        let id = invoiced.invoice.expect("it has one now");
        Ok(Issued { id, receipt: decided.appended })
    }
}

/// Everybody who changes the same item at the same time gets their turn, and nobody folds a long
/// history twice.
fn open(store: impl EventStore + 'static, snapshots: impl SnapshotStore + 'static) -> Annals {
    Annals::new(store)
        .with_retry(RetryPolicy::default().attempts_max(ATTEMPTS_MAX))
        .with_snapshots(snapshots, SnapshotPolicy::every(SNAPSHOT_EVENTS))
        .with_cache(CACHED_MAX)
}

/// A moment is written with its year first.
fn year_of(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.split('-').next().unwrap_or(&text).to_owned()
}

/// What an order is called: under the same key the same, so that the order of a repeated request
/// is the order of the first one.
fn order_id(key: Option<&str>) -> String {
    let Some(key) = key else { return EventId::generate().to_string() };
    let digest: [u8; 32] = Sha256::digest(key).into();
    let (id, _) = digest.split_first_chunk().expect("16 bytes are in 32");
    EventId::from_bytes(*id).to_string()
}
