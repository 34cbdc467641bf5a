//! Where secrets are kept: anywhere but in the log.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

mod file;

pub use file::FileSecrets;

use crate::signature::Secret;
use crate::webhook::{KeyId, WebhookId};

/// Where secrets are kept. Events are immutable and are read by many, so they only say which
/// secret is meant; put an implementation over a vault of your own here.
#[async_trait]
pub trait Secrets: Send + Sync + Debug {
    /// The secret of a webhook; `None` if it is not kept.
    ///
    /// # Errors
    /// When it cannot be read now.
    async fn get(&self, webhook: &WebhookId, key: &KeyId) -> Result<Option<Secret>, SecretsError>;

    /// Keeps a secret; when this returns, it survives what the log survives.
    ///
    /// # Errors
    /// When it cannot be kept.
    async fn put(
        &self,
        webhook: &WebhookId,
        key: &KeyId,
        secret: &Secret,
    ) -> Result<(), SecretsError>;

    /// Forgets a secret; one that is not kept is no error.
    ///
    /// # Errors
    /// When it is still kept.
    async fn remove(&self, webhook: &WebhookId, key: &KeyId) -> Result<(), SecretsError>;
}

#[async_trait]
impl<S: Secrets + ?Sized> Secrets for Arc<S> {
    async fn get(&self, webhook: &WebhookId, key: &KeyId) -> Result<Option<Secret>, SecretsError> {
        (**self).get(webhook, key).await
    }

    async fn put(
        &self,
        webhook: &WebhookId,
        key: &KeyId,
        secret: &Secret,
    ) -> Result<(), SecretsError> {
        (**self).put(webhook, key, secret).await
    }

    async fn remove(&self, webhook: &WebhookId, key: &KeyId) -> Result<(), SecretsError> {
        (**self).remove(webhook, key).await
    }
}

/// The place where secrets are kept failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed")]
pub struct SecretsError {
    doing: String,
    source: Box<dyn Error + Send + Sync>,
}

impl SecretsError {
    /// A failure with its reason. `doing` reads like "reading the secrets".
    #[must_use]
    pub fn because(
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }
}

/// Secrets in memory, gone with the process: for tests.
#[derive(Debug, Default)]
pub struct MemorySecrets(Mutex<BTreeMap<(WebhookId, KeyId), Secret>>);

impl MemorySecrets {
    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<(WebhookId, KeyId), Secret>> {
        self.0.lock().expect("no code panics while holding the secrets")
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn get(&self, webhook: &WebhookId, key: &KeyId) -> Result<Option<Secret>, SecretsError> {
        Ok(self.kept().get(&(webhook.clone(), key.clone())).cloned())
    }

    async fn put(
        &self,
        webhook: &WebhookId,
        key: &KeyId,
        secret: &Secret,
    ) -> Result<(), SecretsError> {
        self.kept().insert((webhook.clone(), key.clone()), secret.clone());
        Ok(())
    }

    async fn remove(&self, webhook: &WebhookId, key: &KeyId) -> Result<(), SecretsError> {
        self.kept().remove(&(webhook.clone(), key.clone()));
        Ok(())
    }
}
