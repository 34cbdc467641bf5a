//! All webhooks as they are, read from the log.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use annals::Apply;
use annals::{
    Annals, Category, DecodeError, Event, EventType, Position, Query, QueryItem, Read, ReadError,
    RecordedEvent,
};
use futures_util::TryStreamExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::webhook::{CATEGORY, Webhook, WebhookEvent, WebhookId, WebhookStatus};

/// A webhook with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// Its id.
    pub id: WebhookId,
    /// How it stands.
    pub webhook: Webhook,
    /// Where it was registered or last enabled: what happened before is not sent.
    pub since: Position,
}

impl Registration {
    /// Whether an event is sent there.
    #[must_use]
    pub fn wants(&self, event: &RecordedEvent) -> bool {
        self.webhook.is_enabled()
            && self.since < event.position
            && self.webhook.filter.matches(event)
    }
}

/// How old the view may be when something is about to be sent.
const AGE_MAX: Duration = Duration::from_secs(1);

/// A view of all webhooks, brought up to date by whoever looks.
///
/// It is read, and not fed by a subscription: so it can be asked for a position, and no change of
/// a webhook comes too late for an event behind it, whatever task lags; and nothing runs while
/// nobody asks. It reads only what has come since.
#[derive(Debug)]
pub(crate) struct Registrations {
    annals: Annals,
    view: RwLock<View>,
    /// One reads at a time, and the others take what it found.
    reading: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct View {
    seen: Position,
    read_at: Option<Instant>,
    all: All,
}

/// All webhooks that there are or were.
pub(crate) type All = Arc<BTreeMap<WebhookId, Registration>>;

impl Registrations {
    pub(crate) fn new(annals: Annals) -> Self {
        Self { annals, view: RwLock::default(), reading: Mutex::default() }
    }

    /// As they stand at a position, or later.
    pub(crate) async fn at(&self, position: Position) -> Result<All, RegistrationsError> {
        self.unless(|view| view.seen >= position).await
    }

    /// As they stood at most a second ago.
    pub(crate) async fn lately(&self) -> Result<All, RegistrationsError> {
        self.unless(|view| view.read_at.is_some_and(|at| at.elapsed() < AGE_MAX)).await
    }

    /// As they stand now.
    pub(crate) async fn now(&self) -> Result<All, RegistrationsError> {
        self.unless(|_| false).await
    }

    /// Whether it is known, without looking, that nobody wants this event.
    pub(crate) fn nobody_wants(&self, event: &RecordedEvent) -> bool {
        let view = self.view();
        view.seen >= event.position && !view.all.values().any(|each| each.wants(event))
    }

    /// Forgets when the view was read.
    pub(crate) fn outdate(&self) {
        self.view.write().expect(UNPOISONED).read_at = None;
    }

    async fn unless(&self, good: impl Fn(&View) -> bool) -> Result<All, RegistrationsError> {
        if let Some(all) = self.view_if(&good) {
            return Ok(all);
        }
        let _reading = self.reading.lock().await;
        if let Some(all) = self.view_if(&good) {
            return Ok(all);
        }
        let view = self.caught_up().await?;
        let all = Arc::clone(&view.all);
        *self.view.write().expect(UNPOISONED) = view;
        Ok(all)
    }

    fn view_if(&self, good: impl Fn(&View) -> bool) -> Option<All> {
        let view = self.view();
        good(&view).then(|| Arc::clone(&view.all))
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().expect(UNPOISONED)
    }

    async fn caught_up(&self) -> Result<View, RegistrationsError> {
        let mut view = self.view().clone();
        let (store, read_at) = (self.annals.store(), Instant::now());
        let head = store.head().await?;
        let mut events = store.read(Read::query(events()).after(view.seen).up_to(head));
        while let Some(event) = events.try_next().await? {
            view.apply(&event)?;
        }
        (view.seen, view.read_at) = (view.seen.max(head), Some(read_at));
        Ok(view)
    }
}

const UNPOISONED: &str = "no code panics while holding the view";

/// The events of webhooks. An application may have other events in the same category.
pub(crate) fn events() -> Query {
    let types = WebhookEvent::SHAPES.iter().map(|shape| EventType::from_static(shape.name));
    Query::of(QueryItem::new().types(types).category(Category::from_static(CATEGORY)))
}

impl View {
    fn apply(&mut self, recorded: &RecordedEvent) -> Result<(), DecodeError> {
        let Ok(id) = recorded.stream.id().parse::<WebhookId>() else { return Ok(()) };
        let all = Arc::make_mut(&mut self.all);
        let registration = all.entry(id.clone()).or_insert_with(|| Registration {
            id,
            webhook: Webhook::default(),
            since: recorded.position,
        });
        for event in WebhookEvent::decode(recorded)? {
            if matches!(event, WebhookEvent::WebhookEnabled) {
                registration.since = recorded.position;
            }
            registration.webhook.apply(event);
        }
        Ok(())
    }
}

/// Those of them that can be seen in a list.
pub(crate) fn existing(all: &All) -> impl Iterator<Item = &Registration> {
    all.values().filter(|each| each.webhook.status != WebhookStatus::Removed)
}

/// The log could not tell which webhooks there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationsError {
    /// An event of a webhook is not as it was written.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
}
