//! Stores around the one in memory that meet each append in a way of their own.

use std::sync::Mutex;

use annals::{
    Append, AppendError, EventId, EventStore, EventStream, ExpectedVersion, Fault, Limits,
    MemoryStore, NewEvent, Position, Read, ReadError, Receipt, Subscribe, Subscription,
};
use async_trait::async_trait;

/// How a [`Scripted`] store meets one append.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meet {
    /// As the store in memory does.
    Honestly,
    /// Somebody else writes to the stream first.
    AfterAnother,
    /// It is stored, and the answer is lost.
    AnswerLost,
    /// It is lost on the way, and nobody knows.
    RequestLost,
    /// The store cannot do it now.
    Unavailable,
}

/// A store that meets its appends as the script says, the last line for ever.
#[derive(Debug)]
pub(crate) struct Scripted {
    inner: MemoryStore,
    script: &'static [Meet],
    met: Mutex<Vec<Vec<EventId>>>,
}

impl Scripted {
    pub(crate) fn new(inner: &MemoryStore, script: &'static [Meet]) -> Self {
        let (inner, met) = (inner.clone(), Mutex::default());
        Self { inner, script, met }
    }

    /// The event ids of each append it has met.
    pub(crate) fn met(&self) -> Vec<Vec<EventId>> {
        self.met.lock().unwrap().clone()
    }

    fn meet(&self, append: &Append) -> Meet {
        let mut met = self.met.lock().unwrap();
        met.push(append.events().map(|event| event.id).collect());
        self.script[(met.len() - 1).min(self.script.len() - 1)]
    }

    async fn write_as_another(&self, append: &Append) {
        let part = &append.streams[0];
        let event_type = annals::EventType::from_static("MoneyDeposited");
        let event = NewEvent::new(event_type, annals::Data::json(r#"{"amount":1}"#));
        let another = Append::to(part.stream.clone(), ExpectedVersion::Any, [event]);
        self.inner.append(another).await.unwrap();
    }
}

#[async_trait]
impl EventStore for Scripted {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        match self.meet(&append) {
            Meet::Honestly => self.inner.append(append).await,
            Meet::AfterAnother => {
                self.write_as_another(&append).await;
                self.inner.append(append).await
            }
            Meet::AnswerLost => {
                self.inner.append(append).await?;
                Err(AppendError::Indeterminate(Fault::new("the answer was lost")))
            }
            Meet::RequestLost => {
                Err(AppendError::Indeterminate(Fault::new("the request was lost")))
            }
            Meet::Unavailable => Err(AppendError::Unavailable(Fault::new("away for lunch"))),
        }
    }

    fn read(&self, read: Read) -> EventStream {
        self.inner.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.inner.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }
}

/// A store that loses the second event of every read.
#[derive(Debug)]
pub(crate) struct Forgetful(pub(crate) MemoryStore);

#[async_trait]
impl EventStore for Forgetful {
    fn limits(&self) -> &Limits {
        self.0.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.0.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        use futures_util::StreamExt;
        let numbered = self.0.read(read).enumerate();
        Box::pin(numbered.filter_map(async |(n, event)| (n != 1).then_some(event)))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.0.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.0.head().await
    }
}
