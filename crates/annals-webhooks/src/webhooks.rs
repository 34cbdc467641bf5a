//! Registering webhooks and changing them.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use annals::{Annals, Category, EventType, ExecuteError, Ids, RandomIds};

use crate::attempts::{Attempts, WebhookAttempt};
use crate::command::{WebhookCommand, WebhookRefusal};
use crate::options::WebhookOptions;
use crate::reach::InvalidEndpoint;
use crate::registrations::{Registration, Registrations, RegistrationsError, existing};
use crate::secrets::{Secrets, SecretsError};
use crate::send::Sender;
use crate::signature::{NoRandomness, Secret};
use crate::webhook::{EventFilter, KeyId, Webhook, WebhookId};

/// The webhooks of a log. Cheap to clone and to share.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use annals::{Annals, EventType, MemoryStore};
/// use annals_webhooks::{MemorySecrets, NewWebhook, WebhookOptions, Webhooks};
///
/// let annals = Annals::new(MemoryStore::new());
/// let webhooks = Webhooks::new(annals, MemorySecrets::default(), WebhookOptions::default())?;
///
/// let new = NewWebhook::to("https://crm.example/hooks")
///     .types([EventType::from_static("MoneyDeposited")])
///     .description("keeps the CRM's balances");
/// let crm = webhooks.register(new).await?;
/// println!("your secret, shown only now: {}", *crm.secret.reveal());
///
/// webhooks.disable(&crm.id, "the CRM moves").await?;
/// webhooks.enable(&crm.id).await?;
/// assert_eq!(webhooks.list().await?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

struct Inner {
    annals: Annals,
    secrets: Box<dyn Secrets>,
    options: WebhookOptions,
    sender: Sender,
    registrations: Registrations,
    attempts: Attempts,
}

/// A webhook that is to be registered.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    id: Option<WebhookId>,
    url: String,
    filter: EventFilter,
    description: Option<String>,
    secret: Option<Secret>,
}

impl NewWebhook {
    /// A webhook that leads to this URL. The URL stands in the log for ever: one that is itself a
    /// secret does not belong here.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        let filter = EventFilter::all();
        Self { id: None, url: url.into(), filter, description: None, secret: None }
    }

    /// With this id, so that registering it twice is noticed; otherwise with a new one.
    #[must_use]
    pub fn id(mut self, id: WebhookId) -> Self {
        self.id = Some(id);
        self
    }

    /// Only for events of these types.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.filter = self.filter.types(types);
        self
    }

    /// Only for events in these categories.
    #[must_use]
    pub fn categories(mut self, categories: impl IntoIterator<Item = Category>) -> Self {
        self.filter = self.filter.categories(categories);
        self
    }

    /// What it is for; at most 500 characters.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Signed with this secret; otherwise with a new one.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }
}

/// A webhook that was registered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// Its id.
    pub id: WebhookId,
    /// Its secret, for its owner.
    pub secret: Secret,
}

impl Webhooks {
    /// The webhooks that stand in this log, with their secrets.
    ///
    /// # Errors
    /// When the machine has no certificates of authorities to check receivers by: install the
    /// package `ca-certificates`, or name a file in `SSL_CERT_FILE`.
    pub fn new(
        annals: Annals,
        secrets: impl Secrets + 'static,
        options: WebhookOptions,
    ) -> Result<Self, NoAuthorities> {
        let sender = Sender::new(&options).map_err(NoAuthorities)?;
        let registrations = Registrations::new(annals.clone());
        let attempts = Attempts::new(options.attempts_kept_max);
        let secrets = Box::new(secrets);
        let inner = Inner { annals, secrets, options, sender, registrations, attempts };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Registers a webhook, enabled: it is sent what happens from now on.
    ///
    /// # Errors
    /// [`WebhooksError`]: nothing was registered.
    pub async fn register(&self, new: NewWebhook) -> Result<Registered, WebhooksError> {
        let NewWebhook { id, url, filter, description, secret } = new;
        self.options().reach.check_url(&url)?;
        let max = self.options().webhooks_max;
        if existing(&self.registrations().now().await?).count() >= max {
            return Err(WebhooksError::TooMany { max });
        }
        let id = id.unwrap_or_else(|| RandomIds.next().into());
        let secret = secret.map_or_else(Secret::generate, Ok)?;
        self.keep_and_execute(&id, &secret, |key| WebhookCommand::Register {
            url,
            filter,
            description,
            key,
        })
        .await?;
        Ok(Registered { id, secret })
    }

    /// Changes where a webhook leads, what is sent there, and what it is for. What waits to be
    /// sent goes to the new URL.
    ///
    /// # Errors
    /// [`WebhooksError`]: nothing was changed.
    pub async fn update(
        &self,
        id: &WebhookId,
        url: impl Into<String>,
        filter: EventFilter,
        description: Option<String>,
    ) -> Result<(), WebhooksError> {
        let url = url.into();
        self.options().reach.check_url(&url)?;
        self.execute(id, WebhookCommand::Update { url, filter, description }).await?;
        Ok(())
    }

    /// Gives a webhook a new secret. The old one stays valid for a time, in which every message
    /// is signed by both, so that the receiver can change when it likes.
    ///
    /// # Errors
    /// [`WebhooksError`]: the old one stays the only one.
    pub async fn rotate(&self, id: &WebhookId, grace: Duration) -> Result<Secret, WebhooksError> {
        let secret = Secret::generate()?;
        self.rotate_to(id, secret.clone(), grace).await?;
        Ok(secret)
    }

    /// The same with a secret of one's own.
    ///
    /// # Errors
    /// [`WebhooksError`]: the old one stays the only one.
    pub async fn rotate_to(
        &self,
        id: &WebhookId,
        secret: Secret,
        grace: Duration,
    ) -> Result<(), WebhooksError> {
        let now = self.options().clock.now();
        let others_until = now.saturating_add(grace);
        let before = self.inner.annals.load::<Webhook>(id.as_str()).await;
        let webhook = self
            .keep_and_execute(id, &secret, |key| WebhookCommand::Rotate { key, others_until })
            .await?;
        // What has run out before is of no use to anybody but a thief.
        if let Ok(before) = before {
            let valid: Vec<&KeyId> = webhook.valid_keys(now).collect();
            for (key, _) in before.state.keys.iter().filter(|(key, _)| !valid.contains(&key)) {
                self.inner.secrets.remove(id, key).await?;
            }
        }
        Ok(())
    }

    /// Sends nothing to a webhook any more, and remembers why. What waits to be sent goes on
    /// waiting.
    ///
    /// # Errors
    /// [`WebhooksError`]: it stays as it was.
    pub async fn disable(
        &self,
        id: &WebhookId,
        reason: impl Into<String>,
    ) -> Result<(), WebhooksError> {
        self.execute(id, WebhookCommand::Disable { reason: reason.into() }).await?;
        Ok(())
    }

    /// Sends to a webhook again: what waits, and what happens from now on. What happened meanwhile
    /// can be [replayed](Self::replay).
    ///
    /// # Errors
    /// [`WebhooksError`]: it stays as it was.
    pub async fn enable(&self, id: &WebhookId) -> Result<(), WebhooksError> {
        self.execute(id, WebhookCommand::Enable).await?;
        self.inner.attempts.forget(id);
        Ok(())
    }

    /// Removes a webhook and forgets its secrets. Its id is not free again.
    ///
    /// # Errors
    /// [`WebhooksError`]. When only the secrets could not be forgotten, remove it again.
    pub async fn remove(&self, id: &WebhookId) -> Result<(), WebhooksError> {
        let webhook = self.execute(id, WebhookCommand::Remove).await?;
        for (key, _) in &webhook.keys {
            self.inner.secrets.remove(id, key).await?;
        }
        self.inner.attempts.forget(id);
        Ok(())
    }

    /// All webhooks, by id, without those that were removed.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn list(&self) -> Result<Vec<Registration>, RegistrationsError> {
        Ok(existing(&self.registrations().now().await?).cloned().collect())
    }

    /// One webhook; `None` if there is none with this id any more.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn get(&self, id: &WebhookId) -> Result<Option<Registration>, RegistrationsError> {
        let all = self.registrations().now().await?;
        Ok(existing(&all).find(|each| each.id == *id).cloned())
    }

    /// The last attempts that this process has made for a webhook, the newest first: those that
    /// arrived as well. They are gone with the process; the failed ones are also kept with their
    /// deliveries.
    #[must_use]
    pub fn attempts(&self, id: &WebhookId) -> Vec<WebhookAttempt> {
        self.inner.attempts.of(id)
    }

    /// The secret first, then the event that names it: an event never names what is not kept.
    async fn keep_and_execute(
        &self,
        id: &WebhookId,
        secret: &Secret,
        command: impl FnOnce(KeyId) -> WebhookCommand,
    ) -> Result<Webhook, WebhooksError> {
        let key = KeyId::from(RandomIds.next());
        self.inner.secrets.put(id, &key, secret).await?;
        let executed = self.execute(id, command(key.clone())).await;
        let unknown = matches!(
            executed,
            Err(WebhooksError::Execute(ref error)) if matches!(**error, ExecuteError::Indeterminate(_))
        );
        if executed.is_err() && !unknown {
            // What no event names is never used; that it stays is better than another error.
            let _ = self.inner.secrets.remove(id, &key).await;
        }
        executed
    }

    pub(crate) async fn execute(
        &self,
        id: &WebhookId,
        command: WebhookCommand,
    ) -> Result<Webhook, WebhooksError> {
        let executed = self.inner.annals.execute::<Webhook, _>(id.as_str(), command).await;
        // Whoever changes a webhook here sees the change here at once.
        self.registrations().outdate();
        executed.map(|executed| executed.state).map_err(|error| Box::new(error).into())
    }

    pub(crate) fn annals(&self) -> &Annals {
        &self.inner.annals
    }

    pub(crate) fn options(&self) -> &WebhookOptions {
        &self.inner.options
    }

    pub(crate) fn registrations(&self) -> &Registrations {
        &self.inner.registrations
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.inner.sender
    }

    pub(crate) fn secrets(&self) -> &dyn Secrets {
        &*self.inner.secrets
    }

    pub(crate) fn kept(&self) -> &Attempts {
        &self.inner.attempts
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// The machine has no certificates of authorities.
#[derive(Debug, thiserror::Error)]
#[error(
    "found no certificates of authorities to check receivers by; install the package \
     `ca-certificates`, or name a file with them in SSL_CERT_FILE"
)]
pub struct NoAuthorities(#[source] io::Error);

/// Why a webhook could not be registered or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhooksError {
    /// The URL is one that is not called. Choose another, or allow it.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The command was refused, or could not be recorded.
    #[error(transparent)]
    Execute(#[from] Box<ExecuteError<WebhookRefusal>>),
    /// There are no random bytes for a secret.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The log could not tell which webhooks there are.
    #[error(transparent)]
    Registrations(#[from] RegistrationsError),
    /// The place where secrets are kept failed.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// There are too many.
    #[error(
        "there are {max} webhooks already; remove one, or allow more with `WebhookOptions::webhooks_max`"
    )]
    TooMany {
        /// How many there may be.
        max: usize,
    },
}

impl WebhooksError {
    /// Why it was refused, if that is what happened.
    #[must_use]
    pub fn refusal(&self) -> Option<&WebhookRefusal> {
        match self {
            Self::Execute(error) => match &**error {
                ExecuteError::Refused(refusal) => Some(refusal),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An error with all its reasons, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
