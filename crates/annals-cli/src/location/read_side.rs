//! Opening the place where an application keeps what it derives.

use std::sync::Arc;

use annals_core::{DeliveryQueue, MemoryReadSide};
use annals_postgres::PostgresReadSide;
use annals_sqlite::SqliteReadSide;

use super::{Address, Location};
use crate::args::read_side::Both;
use crate::failure::Failure;

/// A read side that is open, and how to close it.
pub(crate) struct OpenedReadSide {
    queue: Arc<dyn DeliveryQueue>,
    closing: Closing,
}

enum Closing {
    Nothing,
    Postgres(PostgresReadSide),
    Sqlite(SqliteReadSide),
}

impl OpenedReadSide {
    pub(crate) fn queue(&self) -> Arc<dyn DeliveryQueue> {
        Arc::clone(&self.queue)
    }

    /// Writes what was asked for.
    pub(crate) async fn close(self) {
        match self.closing {
            Closing::Nothing => {}
            Closing::Postgres(read_side) => read_side.close().await,
            Closing::Sqlite(read_side) => read_side.close().await,
        }
    }
}

impl Both {
    /// Opens the read side to look at it and to say something to those who work there. Its tables
    /// are the application's to make.
    pub(crate) async fn open_read_side(&self) -> Result<OpenedReadSide, Failure> {
        match &self.read_side.location {
            Some(location) => location.open_read_side(true).await,
            None => self.store.location.open_read_side(false).await,
        }
    }
}

impl Location {
    /// Opens the read side here. The schema of a URL that names a store is that of the store.
    async fn open_read_side(&self, is_named: bool) -> Result<OpenedReadSide, Failure> {
        let hint = "where does the application keep its checkpoints? Name the place with \
                    --read-side";
        match self {
            Self::Memory => Ok(OpenedReadSide {
                queue: Arc::new(MemoryReadSide::new()),
                closing: Closing::Nothing,
            }),
            Self::Sqlite(path) if !path.exists() => {
                Err(Failure::new(format!("there is no file {}; {hint}", path.display())))
            }
            Self::Sqlite(path) => {
                let read_side = SqliteReadSide::open(path)
                    .map_err(|error| Failure::because(format!("opening {self}"), &error))?;
                Ok(OpenedReadSide {
                    queue: Arc::new(read_side.clone()),
                    closing: Closing::Sqlite(read_side),
                })
            }
            Self::Postgres(address) => {
                let opened = address.read_side_options(is_named).connect(address.url()).await;
                match opened {
                    Ok(read_side) => Ok(OpenedReadSide {
                        queue: Arc::new(read_side.clone()),
                        closing: Closing::Postgres(read_side),
                    }),
                    Err(error) => {
                        let doing = format!("opening the read side in {self}");
                        let failure = address.failed(doing, &error).await;
                        Err(failure.then_hint(hint))
                    }
                }
            }
        }
    }

    /// Opens the read side to serve it: where a store in PostgreSQL has none beside it, there is
    /// none to serve.
    pub(crate) async fn open_read_side_to_serve(
        store: &Self,
        named: Option<&Self>,
    ) -> Result<Option<OpenedReadSide>, Failure> {
        match (named, store) {
            (Some(location), _) => location.open_read_side(true).await.map(Some),
            (None, Self::Postgres(_)) => Ok(store.open_read_side(false).await.ok()),
            (None, _) => store.open_read_side(false).await.map(Some),
        }
    }
}

impl Address {
    fn read_side_options(&self, is_named: bool) -> annals_postgres::ReadSideOptions {
        let options = PostgresReadSide::options().migrate(false);
        match self.schema_given().filter(|_| is_named) {
            Some(schema) => options.schema(schema.clone()),
            None => options,
        }
    }
}
