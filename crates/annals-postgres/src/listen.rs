//! Hearing of what other processes commit.

use std::sync::Arc;
use std::time::Duration;

use sqlx_core::error::Error;
use sqlx_postgres::{PgListener, PgPool};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::bell::{Bell, channel};
use crate::connections::{Connections, no_answer};
use crate::schema::SchemaName;

/// How soon to listen again after a failure. Until then polling must do.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// A task that rings the bell of this process when others notify. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listening(AbortHandle);

impl Listening {
    pub(crate) fn start(connections: &Connections, schema: &SchemaName, bell: Arc<Bell>) -> Self {
        let pool = connections.pool();
        // A connection of its own beside the pool's: it is never given back, and a pool that is
        // closed would wait for the listener to say goodbye to a server that does not answer.
        let options = pool.options().clone().min_connections(0).max_connections(1);
        let own = options.connect_lazy_with((*pool.connect_options()).clone());
        let listening = listen(own, channel(schema), connections.limit(), bell);
        Self(tokio::spawn(listening).abort_handle())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(pool: PgPool, channel: String, limit: Duration, bell: Arc<Bell>) {
    loop {
        let begun = timeout(limit, begin(&pool, &channel)).await;
        match begun.unwrap_or_else(|_| Err(no_answer(limit))) {
            Ok(mut listener) => {
                while let Ok(Some(_)) = listener.try_recv().await {
                    bell.here.notify_one();
                }
            }
            // Listening may not be possible, behind a pooler for example.
            Err(error) => {
                tracing::debug!(%error, "listening failed; looking from time to time instead");
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}

async fn begin(pool: &PgPool, channel: &str) -> Result<PgListener, Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}
