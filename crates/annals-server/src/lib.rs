//! Annals over HTTP: appends, reads, a live tail, and a page that shows the log.
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
mod http;
mod options;
mod page;
mod params;
mod patience;
mod problem;
mod read;
mod tail;

use annals_core::{EventStore, StreamCatalog};

pub use auth::{InvalidToken, Token};
pub use connection::{ServeError, serve};
pub use http::routes;
pub use options::Options;

/// What a store must be able to do to be served.
pub trait Store: EventStore + StreamCatalog {}

impl<S: EventStore + StreamCatalog> Store for S {}
