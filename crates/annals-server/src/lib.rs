//! Annals over HTTP: appends, reads, a live tail, a page that shows the log, and what people do
//! with the projections, inboxes and deliveries of a read side.
//!
//! ```no_run
//! use std::sync::Arc;
//! use annals_core::MemoryStore;
//! use annals_server::{Options, serve};
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! println!("http://{}", listener.local_addr()?);
//! serve(listener, Arc::new(MemoryStore::new()), Options::default(), std::future::pending()).await?;
//! # Ok(()) }
//! ```

mod append;
mod auth;
mod catalog;
mod connection;
mod deliveries;
mod http;
mod inboxes;
mod options;
mod page;
mod params;
mod patience;
mod problem;
mod projections;
mod read;
mod tail;
mod waiting;
mod wire;

use annals_core::{EventStore, StreamCatalog};

pub use auth::{InvalidToken, Token};
pub use connection::{ServeError, serve};
pub use http::routes;
pub use options::Options;
pub use wire::{inbox_of, projection_of};

/// What a store must be able to do to be served.
pub trait Store: EventStore + StreamCatalog {}

impl<S: EventStore + StreamCatalog> Store for S {}
