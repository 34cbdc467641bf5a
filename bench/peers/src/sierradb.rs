//! SierraDB, embedded, with the 32 partitions that its server has by default.
//!
//! An append returns after its fsync in both settings; they differ in when that comes.

use std::path::Path;
use std::time::Duration;

use annals_bench_contest::load::Batch;
use annals_bench_contest::{Contestant, Tally, Which};
use sierradb::database::{Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction};
use sierradb::id::{NAMESPACE_PARTITION_KEY, uuid_to_partition_hash, uuid_v7_with_partition_hash};
use sierradb::{IterDirection, StreamId};
use uuid::Uuid;

const PARTITIONS: u16 = 32;

/// `EACH` asks for an fsync with each append; otherwise fsyncs come at the default: after
/// 4 KiB, 50 events or 5 ms.
#[derive(Clone)]
pub struct SierraDb<const EACH: bool>(Database);

impl<const EACH: bool> Contestant for SierraDb<EACH> {
    async fn open(directory: &Path) -> Self {
        let mut builder = DatabaseBuilder::new();
        if EACH {
            builder.sync_interval(Duration::ZERO);
        }
        Self(builder.open(directory).expect("the store opens"))
    }

    async fn append(&self, batch: Batch) {
        let (key, hash) = partition(&batch.stream);
        let stream = StreamId::new(batch.stream).expect("the load's names are valid");
        let events = batch.events.into_iter().map(|event| NewEvent {
            // It refuses ids that do not carry the partition, so the load's own cannot be used.
            event_id: uuid_v7_with_partition_hash(hash),
            stream_id: stream.clone(),
            stream_version: ExpectedVersion::Any,
            event_name: event.event_type.into(),
            timestamp: 1_763_000_000_000_000_000,
            metadata: Vec::new(),
            payload: event.data,
        });
        let transaction = Transaction::new(key, hash % PARTITIONS, events.collect());
        let transaction = transaction.expect("the events are valid");
        self.0.append_events(transaction).await.expect("the append succeeds");
    }

    async fn read(&self, which: &Which) -> Tally {
        let mut tally = Tally::default();
        match which {
            // There is no order across partitions; it reads one after another.
            Which::All => {
                for partition in 0..PARTITIONS {
                    let mut events = self
                        .0
                        .read_partition(partition, 0, IterDirection::Forward)
                        .await
                        .expect("the read starts");
                    while let Some(batch) = events.next_batch(1_000).await.expect("it reads") {
                        for event in batch.into_iter().flatten() {
                            tally.count(&event.payload);
                        }
                    }
                }
            }
            Which::Stream(name) => {
                let stream = StreamId::new(name.as_str()).expect("the load's names are valid");
                let partition = partition(name).1 % PARTITIONS;
                let mut events = self
                    .0
                    .read_stream(partition, stream, 0, IterDirection::Forward)
                    .await
                    .expect("the read starts");
                while let Some(batch) = events.next_batch(1_000).await.expect("it reads") {
                    for event in batch.into_iter().flatten() {
                        tally.count(&event.payload);
                    }
                }
            }
            Which::Tag(_) => unreachable!("SierraDB has no tags"),
        }
        tally
    }

    async fn close(self) {
        self.0.shutdown().await;
    }
}

/// The key and the hash of a stream's partition, made as its server makes them.
fn partition(stream: &str) -> (Uuid, u16) {
    let key = Uuid::new_v5(&NAMESPACE_PARTITION_KEY, stream.as_bytes());
    (key, uuid_to_partition_hash(key))
}
