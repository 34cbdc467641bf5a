//! Running webhooks: an inbox for each of them, for as long as it is enabled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use annals::inbox::{Retries, StartError};
use annals::{
    DeliveryQueue, Inbox, Notice, RunningInboxes, SelectDeliveries, Subscribe, SubscriberName,
    Subscription,
};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fan_out::FanOut;
use crate::registrations::{Registration, RegistrationsError, events};
use crate::webhook::{EventFilter, WebhookId, WebhookStatus};
use crate::webhooks::{Webhooks, chain};

/// How long is waited after something has failed that is not a webhook's fault.
const PAUSE: Duration = Duration::from_secs(1);
/// What an attempt may take beside its request: reading its webhook and its secrets.
const MARGIN: Duration = Duration::from_secs(5);

impl WebhookId {
    /// The name of the inbox with the deliveries to this webhook.
    #[must_use]
    pub fn inbox(&self) -> SubscriberName {
        SubscriberName::new(format!("webhook-{self}"))
            .expect("an id of a webhook has up to 48 plain characters")
    }
}

impl Webhooks {
    /// Sends what happens to whoever wants it, until the handle is stopped or dropped. One inbox,
    /// `webhooks`, reads the log and hands events on; each webhook that is enabled has an
    /// [inbox of its own](WebhookId::inbox), so that a receiver that is slow or dead holds up
    /// nobody else. Their deliveries are kept in `queue`.
    ///
    /// Webhooks that are registered, changed, disabled or enabled, here or elsewhere, are noticed
    /// as their events are recorded. Any number of processes may run the same webhooks.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        &self,
        queue: Arc<dyn DeliveryQueue>,
    ) -> Result<RunningWebhooks, StartError> {
        let fan_out = FanOut { webhooks: self.clone(), queue: Arc::clone(&queue) };
        let reading = self.annals().inboxes(Arc::clone(&queue)).inbox(fan_out.inbox());
        let reading = reading.start().await?;
        let (stop, stopped) = watch::channel(false);
        let (kept, cleared) = (BTreeMap::new(), BTreeSet::new());
        let keeper = Keeper { webhooks: self.clone(), queue, kept, cleared };
        let mut task = JoinSet::new();
        task.spawn(keeper.run(stopped));
        Ok(RunningWebhooks { reading, stop, task })
    }

    /// The inbox of one webhook: in no order, so that one message that fails holds up no other.
    fn inbox_of(&self, registration: &Registration) -> Inbox {
        let options = self.options();
        let retries = Retries::default()
            .attempts_max(options.attempts_max)
            .first(options.first_wait)
            .longest(options.longest_wait);
        Inbox::named(registration.id.inbox(), self.clone())
            .accepts(registration.webhook.filter.query())
            // It takes what was handed on to it, and nothing from the log.
            .recipients(|_| vec![])
            .unordered()
            .concurrency(options.concurrency)
            .retry(retries)
            .timeout(options.timeout.saturating_add(MARGIN))
    }
}

/// Webhooks that run. When it is dropped they stop at once, and what was being sent is sent again
/// by whoever runs them next; [`stop`](Self::stop) is the better way.
#[derive(Debug)]
#[must_use = "webhooks stop when their handle is dropped"]
pub struct RunningWebhooks {
    reading: RunningInboxes,
    stop: watch::Sender<bool>,
    /// One task, which ends with this.
    task: JoinSet<()>,
}

impl RunningWebhooks {
    /// Sends nothing new, and waits for what is being sent.
    pub async fn stop(mut self) {
        self.reading.stop().await;
        self.stop.send_replace(true);
        if let Some(Err(error)) = self.task.join_next().await {
            let error = chain(&error);
            tracing::error!(error, "the task that runs webhooks has failed");
        }
    }
}

/// Sees to it that each webhook has the inbox that it should have.
struct Keeper {
    webhooks: Webhooks,
    queue: Arc<dyn DeliveryQueue>,
    kept: BTreeMap<WebhookId, watch::Sender<Wish>>,
    /// Those that were removed, and have nothing that waits.
    cleared: BTreeSet<WebhookId>,
}

/// What the inbox of a webhook should be; `None` if there should be none.
type Wish = Option<Registration>;

impl Keeper {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut inboxes = JoinSet::new();
        tokio::select! {
            () = self.follow(&mut inboxes) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        // Without anybody who wishes for it, each inbox stops by itself.
        self.kept.clear();
        while inboxes.join_next().await.is_some() {}
    }

    /// Follows the events of webhooks for ever.
    async fn follow(&mut self, inboxes: &mut JoinSet<()>) {
        loop {
            let mut changes = self.webhooks.annals().store().subscribe(Subscribe::query(events()));
            while caught_up(&mut changes).await {
                if let Err(error) = self.see_to_all(inboxes).await {
                    let error = chain(&error);
                    tracing::warn!(error, "which webhooks there are is not known; asking again");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn see_to_all(&mut self, inboxes: &mut JoinSet<()>) -> Result<(), RegistrationsError> {
        for registration in self.webhooks.registrations().now().await?.values() {
            if registration.webhook.status == WebhookStatus::Removed {
                self.clear(&registration.id).await;
                continue;
            }
            let wish = registration.webhook.is_enabled().then(|| registration.clone());
            let Some(kept) = self.kept.get(&registration.id) else {
                if wish.is_some() {
                    let (wisher, wishes) = watch::channel(wish);
                    self.kept.insert(registration.id.clone(), wisher);
                    let (webhooks, queue) = (self.webhooks.clone(), Arc::clone(&self.queue));
                    inboxes.spawn(keep(webhooks, queue, wishes));
                }
                continue;
            };
            kept.send_if_modified(|current| {
                let changed = place(current.as_ref()) != place(wish.as_ref());
                if changed {
                    *current = wish;
                }
                changed
            });
        }
        Ok(())
    }

    /// What waits to be sent to a webhook that was removed is not sent any more.
    async fn clear(&mut self, id: &WebhookId) {
        if self.cleared.contains(id) {
            return;
        }
        self.kept.remove(id);
        let (waiting, now) =
            (SelectDeliveries::inbox(id.inbox()), self.webhooks.options().clock.now());
        match self.queue.skip(&waiting, "the webhook was removed", now).await {
            Ok(_) => {
                self.cleared.insert(id.clone());
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(webhook = %id, error, "what waits for a removed webhook stays");
            }
        }
    }
}

/// What of a webhook its inbox depends on.
fn place(wish: Option<&Registration>) -> Option<&EventFilter> {
    wish.map(|registration| &registration.webhook.filter)
}

/// Waits until something has happened to a webhook, and everything that has happened was seen;
/// `false` if the log cannot be read any more.
async fn caught_up(changes: &mut Subscription) -> bool {
    let mut changed = false;
    loop {
        match changes.next().await {
            Some(Ok(Notice::Event(_))) => changed = true,
            Some(Ok(Notice::CaughtUp(_))) if changed => return true,
            Some(Ok(Notice::CaughtUp(_))) => {}
            Some(Err(_)) | None => return false,
        }
    }
}

/// Runs the inbox of one webhook as it is wished for, until nobody wishes any more.
async fn keep(
    webhooks: Webhooks,
    queue: Arc<dyn DeliveryQueue>,
    mut wishes: watch::Receiver<Wish>,
) {
    loop {
        let wish = wishes.borrow_and_update().clone();
        let running = match &wish {
            Some(registration) => start(&webhooks, &queue, registration).await,
            None => None,
        };
        let failed = wish.is_some() && running.is_none();
        let ended = tokio::select! {
            changed = wishes.changed() => changed.is_err(),
            () = tokio::time::sleep(PAUSE), if failed => false,
        };
        if let Some(running) = running {
            running.stop().await;
        }
        if ended {
            return;
        }
    }
}

async fn start(
    webhooks: &Webhooks,
    queue: &Arc<dyn DeliveryQueue>,
    registration: &Registration,
) -> Option<RunningInboxes> {
    let inboxes =
        webhooks.annals().inboxes(Arc::clone(queue)).inbox(webhooks.inbox_of(registration));
    let started = inboxes.grace(webhooks.options().timeout).start().await;
    let failed = |error| {
        let (webhook, error) = (&registration.id, chain(&error));
        tracing::warn!(%webhook, error, "the inbox of a webhook does not start; trying again");
    };
    started.map_err(failed).ok()
}
