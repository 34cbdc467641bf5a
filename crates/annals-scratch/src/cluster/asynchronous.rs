//! What an asynchronous test asks of a server.

use std::sync::Arc;

use super::{Cluster, Home, SUPERUSER, finish};
use crate::Error;
use crate::database::{Database, Server};

impl Cluster {
    /// [`Cluster::start_blocking`] without blocking the test.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing or does not start; the message has its log.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, Error> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<(String, String)> = settings.iter().map(owned).collect();
        aside(move || {
            let settings: Vec<_> = settings.iter().map(|(n, v)| (&**n, &**v)).collect();
            Self::start_blocking(&settings)
        })
        .await
    }

    /// A fresh, empty database in this server.
    ///
    /// # Panics
    ///
    /// When the server does not make one.
    pub async fn database(&self) -> Database {
        let server = Server::of_cluster(&self.url(SUPERUSER), Arc::downgrade(&self.server));
        Database::or_panic(server).await
    }

    /// A hot standby that follows this server, with the same settings.
    ///
    /// It is complete as of this call, and follows from there on. The server keeps what the
    /// replica has not received, in a replication slot.
    ///
    /// # Errors
    ///
    /// When the copy cannot be made or does not start.
    pub async fn replica(&self) -> Result<Self, Error> {
        let (settings, port) = (self.settings.clone(), self.port);
        aside(move || Self::follow(port, settings)).await
    }

    fn follow(port: u16, settings: Vec<(String, String)>) -> Result<Self, Error> {
        let home = Home::new()?;
        let mut copy = home.command("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-U", SUPERUSER, "-w", "-p"]).arg(port.to_string());
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"]).arg(home.data());
        copy.args(["-C", "-S"]).arg(slot(&home));
        finish("pg_basebackup", &mut copy)?;
        Self::start_in(home, settings)
    }
}

/// What the other server calls the replica in this folder.
fn slot(home: &Home) -> String {
    let name = home.folder.path().file_name().unwrap_or_default().to_string_lossy();
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    letters.collect::<String>().to_ascii_lowercase()
}

/// Runs what blocks where it blocks nobody.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
