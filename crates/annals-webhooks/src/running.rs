//! Running webhooks: one engine, in which each of them has an inbox for as long as it is enabled.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use annals::inbox::{Retries, StartError};
use annals::{
    DeliveryQueue, Inbox, Inboxes, Notice, ReadSideError, RunningInboxes, Subscribe,
    SubscriberName, Subscription,
};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fan_out::FanOut;
use crate::registrations::{Registration, events};
use crate::webhook::{WebhookId, WebhookStatus};
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
    /// [inbox of its own](WebhookId::inbox), which is [fed](Inbox::fed) by that one, so that a
    /// receiver that is slow or dead holds up nobody else. Their deliveries are kept in `queue`.
    ///
    /// Webhooks that are registered, changed, disabled or enabled, here or elsewhere, are noticed
    /// as their events are recorded. Of one that is removed nothing stays in the queue: neither
    /// what waits nor the attempts at what was sent. Any number of processes may run the same webhooks.
    ///
    /// Events are sent as the [upcasters](annals::Annals::with_upcasters) of this handle make them.
    /// One that cannot be upcast is a dead letter of the inbox `webhooks`, and of no webhook: when
    /// it is retried there, it goes to whoever wants it.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        &self,
        queue: Arc<dyn DeliveryQueue>,
    ) -> Result<RunningWebhooks, StartError> {
        let options = self.options();
        let engine = self.annals().inboxes(queue);
        let running = engine.grace(options.timeout).remember(options.remember).start().await?;
        let inboxes = (*running).clone();
        let fan_out = FanOut { webhooks: self.clone(), inboxes: inboxes.clone() };
        running.add(fan_out.inbox()).await?;
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper::new(self.clone(), running);
        let mut task = JoinSet::new();
        task.spawn(keeper.run(stopped));
        Ok(RunningWebhooks { inboxes, stop, task })
    }

    /// The inbox of one webhook: in no order, so that one message that fails holds up no other.
    fn inbox_of(&self, id: &WebhookId) -> Inbox {
        let options = self.options();
        let retries = Retries::default()
            .attempts_max(options.attempts_max)
            .first(options.first_wait)
            .longest(options.longest_wait);
        Inbox::named(id.inbox(), self.clone())
            .fed()
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
    inboxes: Inboxes,
    stop: watch::Sender<bool>,
    /// One task, which ends with this, and in which all inboxes are.
    task: JoinSet<()>,
}

impl RunningWebhooks {
    /// Their inboxes, to be looked at and paused, and for [replays](Webhooks::replay).
    #[must_use]
    pub fn inboxes(&self) -> &Inboxes {
        &self.inboxes
    }

    /// Sends nothing new, and waits for what is being sent.
    pub async fn stop(mut self) {
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
    running: RunningInboxes,
    /// Those that have an inbox here.
    kept: BTreeSet<WebhookId>,
    /// What is still being sent to others. Nobody waits for it but the end.
    leaving: JoinSet<bool>,
    /// Those that were removed, and of which nothing is left in the queue.
    cleared: BTreeSet<WebhookId>,
    /// Whether something is left of others, since it is still being sent somewhere.
    is_left: bool,
}

impl Keeper {
    fn new(webhooks: Webhooks, running: RunningInboxes) -> Self {
        let (kept, leaving, cleared) = (BTreeSet::new(), JoinSet::new(), BTreeSet::new());
        Self { webhooks, running, kept, leaving, cleared, is_left: false }
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.follow() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        self.running.stop().await;
        while self.leaving.join_next().await.is_some() {}
    }

    /// Follows the events of webhooks for ever.
    async fn follow(&mut self) {
        loop {
            let mut changes = self.webhooks.annals().store().subscribe(Subscribe::query(events()));
            while self.is_to_look(&mut changes).await {
                if let Err(error) = self.see_to_all().await {
                    let error = chain(&*error);
                    tracing::warn!(
                        error,
                        "not every webhook has the inbox that it should have; trying again"
                    );
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until there is something to be seen to; `false` if the log cannot be read any more.
    async fn is_to_look(&self, changes: &mut Subscription) -> bool {
        tokio::select! {
            can_be_read = caught_up(changes) => can_be_read,
            () = tokio::time::sleep(PAUSE), if self.is_left => true,
        }
    }

    async fn see_to_all(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.is_left = false;
        for registration in self.webhooks.registrations().now().await?.values() {
            let Registration { id, webhook, .. } = registration;
            if webhook.is_enabled() {
                self.keep(id).await?;
            } else {
                self.part_with(id);
            }
            if webhook.status == WebhookStatus::Removed {
                self.clear(id).await?;
            }
        }
        Ok(())
    }

    async fn keep(&mut self, id: &WebhookId) -> Result<(), StartError> {
        if !self.kept.contains(id) {
            self.running.add(self.webhooks.inbox_of(id)).await?;
            self.kept.insert(id.clone());
        }
        Ok(())
    }

    fn part_with(&mut self, id: &WebhookId) {
        // Those that have left are forgotten.
        while self.leaving.try_join_next().is_some() {}
        if self.kept.remove(id) {
            self.leaving.spawn(self.running.remove(&id.inbox()));
        }
    }

    /// Nothing is kept of a webhook that was removed, and nothing of what waits is sent. What is
    /// being sent, here or elsewhere, is waited for.
    async fn clear(&mut self, id: &WebhookId) -> Result<(), ReadSideError> {
        if self.cleared.contains(id) {
            return Ok(());
        }
        match self.running.delete(id.inbox().as_str()).await {
            Ok(_) | Err(ReadSideError::Unknown(_)) => {
                self.cleared.insert(id.clone());
            }
            Err(ReadSideError::InUse { .. }) => self.is_left = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }
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
