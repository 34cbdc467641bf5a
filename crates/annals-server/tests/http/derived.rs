//! A read side to serve: a projection that runs, and an inbox with a delivery of every kind.

use std::sync::Arc;
use std::time::Duration;

use annals::{
    Annals, Attempt, DeliveryId, DeliveryQueue, Enqueue, Enrol, Event, EventRef, NewDelivery,
    OnNewVersion, Projection, ReadModel, RecordedEvent, RowKey, RunningProjection, Settled,
    SubscriberInfo, Take, Then,
};
use annals_core::{
    CheckpointStore, EventId, EventType, MemoryReadSide, MemoryStore, Position, StreamId,
    SubscriberName, Timestamp, Version,
};
use annals_server::Options;

use crate::client::Server;

#[derive(Debug, Event)]
pub(crate) enum AccountEvent {
    MoneyDeposited { amount: u64 },
}

/// How much is in each account.
pub(crate) struct Balances;

impl Projection for Balances {
    type Event = AccountEvent;
    type Row = u64;
    const NAME: &'static str = "balances";

    fn apply(
        &self,
        _: &RowKey,
        held: Option<u64>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        let AccountEvent::MoneyDeposited { amount } = event;
        Some(held.unwrap_or(0) + amount)
    }
}

/// A server over a log and its read side, both in memory.
pub(crate) struct Derived {
    pub(crate) server: Server,
    pub(crate) store: MemoryStore,
    pub(crate) read_side: MemoryReadSide,
}

impl Derived {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(mut options: Options) -> Self {
        let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
        options.read_side = Some(Arc::new(read_side.clone()));
        let server = Server::of(store.clone(), options).await;
        Self { server, store, read_side }
    }

    /// Runs the balances in this process, as an application does in its own.
    pub(crate) fn run(&self) -> (ReadModel<Balances>, RunningProjection) {
        let balances = ReadModel::new(Balances, self.read_side.clone());
        let running = Annals::new(self.store.clone()).project(balances.clone()).start();
        (balances, running)
    }

    /// Makes a projection known that nobody works.
    pub(crate) async fn enrol(&self, name: &'static str, version: u32) -> SubscriberName {
        let subscriber = SubscriberName::from_static(name);
        let enrol = Enrol {
            subscriber: subscriber.clone(),
            version,
            partitions: 1,
            after: Position::START,
            on_new_version: OnNewVersion::Refuse,
            now: Timestamp::EPOCH,
        };
        self.read_side.enrol(enrol).await.unwrap();
        subscriber
    }

    /// An inbox with a dead letter for each recipient, tried once, of events at 1, 2, 3 and so on.
    pub(crate) async fn dead(&self, inbox: &'static str, recipients: &[&str]) -> Vec<DeliveryId> {
        let inbox = self.enrol(inbox, SubscriberInfo::INBOX_VERSION).await;
        let deliveries: Vec<_> = (1_u8..)
            .zip(recipients)
            .map(|(number, recipient)| {
                let event = EventRef {
                    id: EventId::from_bytes([number; 16]),
                    position: Position::new(number.into()),
                    stream: StreamId::from_static("issue-1"),
                    version: Version::new(number.into()),
                    event_type: EventType::from_static("IssueAssigned"),
                };
                NewDelivery {
                    id: DeliveryId::new(&inbox, event.id, Some(recipient)),
                    inbox: inbox.clone(),
                    event,
                    recipient: Some((*recipient).to_owned()),
                    lane: None,
                    due_at: Timestamp::EPOCH,
                }
            })
            .collect();
        let ids = deliveries.iter().map(|delivery| delivery.id.clone()).collect();
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        self.read_side.enqueue(enqueue, Timestamp::EPOCH).await.unwrap();
        let until = Timestamp::EPOCH.saturating_add(Duration::from_secs(60));
        let take = Take { inbox, limit: 100, now: Timestamp::EPOCH, until };
        let taken = self.read_side.take(take).await.unwrap();
        let settled = taken.into_iter().map(|delivery| Settled {
            id: delivery.id,
            token: delivery.token,
            attempt: Some(Attempt {
                number: 1,
                at: Timestamp::EPOCH,
                duration: Duration::from_millis(250),
                error: Some("sending: connection refused".to_owned()),
                note: None,
            }),
            then: Then::Dead,
        });
        self.read_side.settle(settled.collect(), Timestamp::EPOCH).await.unwrap();
        ids
    }
}
