//! Waking those who follow the log: here at once, in other processes by `NOTIFY`.
//!
//! A notification is sent after the commit, in a statement of its own: inside the transaction it
//! would make all commits of the database wait for each other. It may be lost with the process;
//! whoever listens also looks from time to time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx_core::error::Error;
use sqlx_core::query::query;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connections::{Connections, no_answer};
use crate::schema::SchemaName;

/// Notifications are sent no more often than this by one process.
const INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Bell {
    connections: Arc<Connections>,
    channel: String,
    /// Rings for those who follow the log in this process.
    pub(crate) here: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    under_way: bool,
}

/// The channel of a store's notifications.
pub(crate) fn channel(schema: &SchemaName) -> String {
    format!("annals_{schema}")
}

impl Bell {
    pub(crate) fn new(connections: Arc<Connections>, schema: &SchemaName) -> Self {
        let (here, state) = Default::default();
        Self { connections, channel: channel(schema), here, state }
    }

    /// Something was committed.
    pub(crate) fn appended(self: &Arc<Self>) {
        self.here.notify_one();
        let at = {
            let mut state = self.state();
            if std::mem::replace(&mut state.under_way, true) {
                return;
            }
            state.last.map(|last| last + INTERVAL)
        };
        tokio::spawn(UnderWay(Arc::clone(self)).notify(at));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the bell")
    }

    async fn send(&self) -> Result<(), Error> {
        let mut connection = self.connections.take().await?;
        // It may be lost, so nobody's disk need be waited for, nor kept from those who append.
        query("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')")
            .bind(&self.channel)
            .execute(&mut *connection)
            .await?;
        self.connections.give_back(connection);
        Ok(())
    }
}

/// A notification that is yet to be sent. However its task ends, the next one gets another.
struct UnderWay(Arc<Bell>);

impl UnderWay {
    async fn notify(self, at: Option<Instant>) {
        if let Some(at) = at {
            sleep_until(at).await;
        }
        let bell = Arc::clone(&self.0);
        bell.state().last = Some(Instant::now());
        // Before it is sent: what is committed from now on needs another one.
        drop(self);
        let limit = bell.connections.limit();
        let sent = timeout(limit, bell.send()).await.unwrap_or_else(|_| Err(no_answer(limit)));
        if let Err(error) = sent {
            tracing::debug!(%error, "notifying failed; listeners will see it when they look");
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way = false;
    }
}
