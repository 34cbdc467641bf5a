//! The suite that every Annals store passes, and stores that are broken on purpose.
//!
//! Whatever implements [`EventStore`](annals_core::EventStore) (a backend, a decorator, a client
//! over the network) enrols with one line and gets a `#[test]` for each case, named by the
//! guarantee it holds the store to (`s1_…` to `s10_…`), so that test runners list and filter them:
//!
//! ```
//! # // Inside a doc test the generated tests are compiled but not run.
//! annals_conformance::suite!(|| async { annals_core::MemoryStore::new() });
//! # fn main() {}
//! ```
//!
//! A store that lives somewhere brings the place along by implementing [`Backend`]; what more it
//! can do it says in types, by implementing [`Durable`] and [`Configurable`], and names them
//! behind a comma. Those cases are then enrolled too:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use annals_conformance::{Backend, Configurable, Durable};
//! use annals_core::{Clock, EventStore, Limits, MemoryStore};
//! use async_trait::async_trait;
//!
//! #[derive(Default)]
//! struct Memory {
//!     places: Mutex<HashMap<String, MemoryStore>>,
//! }
//!
//! #[async_trait]
//! impl Backend for Memory {
//!     async fn open(&self) -> Arc<dyn EventStore> {
//!         Arc::new(MemoryStore::new())
//!     }
//! }
//!
//! #[async_trait]
//! impl Durable for Memory {
//!     async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
//!         Arc::new(self.places.lock().unwrap().entry(place.to_owned()).or_default().clone())
//!     }
//! }
//!
//! #[async_trait]
//! impl Configurable for Memory {
//!     async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
//!         Arc::new(MemoryStore::with(clock, limits))
//!     }
//! }
//!
//! annals_conformance::suite!(Memory::default(), durable, configurable);
//! # fn main() {}
//! ```
//!
//! Stores that keep snapshots have a suite for that besides: [`snapshots`]. Whatever keeps
//! checkpoints, rows and deliveries has another: [`read_side`].
//!
//! The cases can also be run by name, from [`CASES`], [`DURABLE_CASES`] and
//! [`CONFIGURABLE_CASES`].
//!
//! The suite is held to account itself: [`broken`] has stores that each break one guarantee, and
//! this crate's tests prove that every case fails against at least one of them. [`faults`] has
//! decorators that are only unpleasant, over which the suite must still pass.
//!
//! Everything random is seeded. `ANNALS_CONFORMANCE_CASES` sets how many random histories are
//! compared with the model (24 unless said otherwise), `ANNALS_CONFORMANCE_SEED` which ones.

// What a case is, and how it is run.
mod backend;
mod case;
mod follower;
mod probe;
mod storm;
mod words;

// The cases, a file for each guarantee.
mod atomic;
mod bounded;
mod conflicts;
mod dcb;
mod durable;
mod idempotent;
mod model;
mod nothing_missed;
mod opaque;
mod order;
pub mod read_side;
mod reading;
pub mod snapshots;
mod subscribing;
mod time;
mod versions;

// What the suite itself is tested with.
pub mod broken;
mod decorate;
pub mod faults;

use case::registry;
use read_side::read_side_registry;
use snapshots::snapshot_registry;

pub use backend::{Backend, Configurable, Durable};
pub use case::{CASES, CONFIGURABLE_CASES, Case, DURABLE_CASES, Failure, Guarantee};
pub use decorate::{Decorated, DecoratedSnapshots, Decorator, SnapshotDecorator};

#[doc(hidden)]
pub use case::{run_configurable, run_durable, run_plain};
