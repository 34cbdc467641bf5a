//! The shop: its log, and what concerns more than one aggregate.

use std::path::Path;

use annals::sqlite::OpenError;
use annals::{
    Annals, BatchError, EventId, EventStore, ExecuteError, LoadError, Loaded, MemoryStore, Receipt,
    RetryPolicy, SqliteStore, Version,
};
use sha2::{Digest, Sha256};

use crate::order::{CreateOrder, Order};

/// How often something is decided while others are faster: dozens may want the same item.
const ATTEMPTS_MAX: u32 = 100;

/// The shop, on a log.
#[derive(Clone, Debug)]
pub struct Shop {
    annals: Annals,
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
        Self { annals: open(MemoryStore::new()), file: None }
    }

    /// The shop in a file, which is made when it is not there.
    ///
    /// # Errors
    /// When there is something else in the file, or it cannot be read or written.
    pub fn in_file(path: &Path) -> Result<Self, OpenError> {
        let store = SqliteStore::open(path)?;
        Ok(Self { annals: open(store.clone()), file: Some(store) })
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
}

/// Everybody who changes the same item at the same time gets their turn.
fn open(store: impl EventStore + 'static) -> Annals {
    let patient = RetryPolicy::default().attempts_max(ATTEMPTS_MAX);
    Annals::new(store).with_retry(patient)
}

/// What an order is called: under the same key the same, so that the order of a repeated request
/// is the order of the first one.
fn order_id(key: Option<&str>) -> String {
    let Some(key) = key else { return EventId::generate().to_string() };
    let digest: [u8; 32] = Sha256::digest(key).into();
    let (id, _) = digest.split_first_chunk().expect("16 bytes are in 32");
    EventId::from_bytes(*id).to_string()
}
