//! Writers of the audit's own, in streams of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::{
    Append, AppendError, Data, EventId, EventStore, EventType, ExpectedVersion, NewEvent, StreamId,
};
use annals_postgres::PostgresStore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::failure::Failure;

/// A writer shares these with all others, so that appends wait for each other and commit in
/// another order than they began in.
const SHARED_STREAMS: u64 = 4;
/// How long a writer repeats an append that was not acknowledged.
const PATIENCE: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Through what a writer writes.
#[derive(Clone)]
pub(super) enum Pen {
    /// Appends of the store, as most applications make them.
    Store(Arc<dyn EventStore>),
    /// Transactions of an application that stay open for a while, and are rolled back at times.
    Transactions(PostgresStore),
}

/// Writers at work.
pub(super) struct Load {
    run: EventId,
    written: Arc<AtomicU64>,
    writers: JoinSet<Result<u64, Failure>>,
}

impl Load {
    /// Starts a writer for each pen.
    pub(super) fn start(pens: Vec<Pen>, over: &watch::Receiver<bool>) -> Self {
        let mut load =
            Self { run: EventId::generate(), written: Arc::default(), writers: JoinSet::new() };
        for (number, pen) in (0..).zip(pens) {
            let writer = Writer { run: load.run, number, written: Arc::clone(&load.written) };
            load.writers.spawn(writer.run(pen, over.clone()));
        }
        load
    }

    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// What the names of its streams begin with.
    pub(super) fn streams(&self) -> String {
        format!("audit-{}_", self.run)
    }

    /// Waits until every writer has its last answer; how many events were acknowledged.
    pub(super) async fn end(mut self) -> Result<u64, Failure> {
        let mut acknowledged = 0;
        while let Some(writer) = self.writers.join_next().await {
            acknowledged += writer.map_err(|error| Failure::because("writing", &error))??;
        }
        Ok(acknowledged)
    }
}

struct Writer {
    run: EventId,
    number: u64,
    written: Arc<AtomicU64>,
}

impl Writer {
    /// Writes until it is over; how many events were acknowledged.
    async fn run(self, pen: Pen, over: watch::Receiver<bool>) -> Result<u64, Failure> {
        let mut acknowledged = 0;
        for count in 0.. {
            if *over.borrow() {
                break;
            }
            let append = self.append(&pen, count)?;
            let events = append.events().count() as u64;
            let is_kept = match &pen {
                Pen::Store(store) => append_until_known(store, append).await.map(|()| true)?,
                Pen::Transactions(store) => linger(store, append, self.number + count).await?,
            };
            if is_kept {
                acknowledged += events;
                self.written.fetch_add(events, Ordering::Relaxed);
            }
        }
        Ok(acknowledged)
    }

    fn append(&self, pen: &Pen, count: u64) -> Result<Append, Failure> {
        let event = || {
            let data = format!(r#"{{"writer":{},"append":{count}}}"#, self.number);
            NewEvent::new(EventType::from_static("LoadWritten"), Data::json(data))
        };
        let stream = |name: String| {
            StreamId::of("audit", format_args!("{}_{name}", self.run))
                .map_err(|error| Failure::because("naming a stream", &error))
        };
        let own = (0..=count % 3).map(|_| event());
        let append = Append::to(stream(self.number.to_string())?, ExpectedVersion::Any, own);
        Ok(match pen {
            Pen::Store(_) => {
                let shared = stream(format!("shared{}", (self.number + count) % SHARED_STREAMS))?;
                append.and_to(shared, ExpectedVersion::Any, [event()])
            }
            // A stream that somebody lingers in is nobody else's meanwhile.
            Pen::Transactions(_) => append,
        })
    }
}

/// Repeats the append with the same ids, as a careful caller does, until its outcome is known.
async fn append_until_known(store: &Arc<dyn EventStore>, append: Append) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.append(append.clone()).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Unavailable(_) | AppendError::Indeterminate(_))
                if Instant::now() < deadline =>
            {
                sleep(TRY_AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the transaction was committed.
async fn linger(store: &PostgresStore, append: Append, chance: u64) -> Result<bool, Failure> {
    let failed = |error| Failure::because("writing in a transaction", &error);
    let mut transaction = store.pool().begin().await.map_err(failed)?;
    store.append_in(&mut transaction, &append).await?;
    sleep(Duration::from_millis(chance * 7 % 20)).await;
    if chance.is_multiple_of(8) {
        transaction.rollback().await.map_err(failed)?;
        return Ok(false);
    }
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}
