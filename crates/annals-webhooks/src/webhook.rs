//! A webhook as its events tell it: where it leads, what is sent there, whether it is enabled.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use annals::{
    Aggregate, Apply, Category, Event, EventId, EventType, Query, QueryItem, RecordedEvent,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// What the streams of webhooks begin with.
pub(crate) const CATEGORY: &str = "webhook";

/// The identity of a webhook, which names its stream, `webhook-<id>`: 1 to 48 letters, digits,
/// `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookId(String);

impl WebhookId {
    const BYTES_MAX: usize = 48;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookId {
    type Err = InvalidWebhookId;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookId> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for WebhookId {
    type Error = InvalidWebhookId;

    fn try_from(text: String) -> Result<Self, InvalidWebhookId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
        if fits { Ok(Self(text)) } else { Err(InvalidWebhookId) }
    }
}

impl From<WebhookId> for String {
    fn from(id: WebhookId) -> Self {
        id.0
    }
}

impl From<EventId> for WebhookId {
    fn from(id: EventId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a webhook has 1 to 48 letters, digits, `-` and `_`")]
pub struct InvalidWebhookId;

/// Which of a webhook's secrets: all that events say of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<EventId> for KeyId {
    fn from(id: EventId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which events are sent to a webhook: those of any of these types, in any of these categories.
/// None named means all of them.
///
/// The events of webhooks themselves, which tell where others lead, are only sent to whoever
/// names their category, `webhook`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventFilter {
    /// Any of these types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<EventType>,
    /// In any of these categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
}

impl EventFilter {
    /// The most types, and the most categories, of one webhook.
    pub const NAMES_MAX: usize = 100;

    /// All events.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// And events of these types.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types.extend(types);
        self
    }

    /// And events in these categories.
    #[must_use]
    pub fn categories(mut self, categories: impl IntoIterator<Item = Category>) -> Self {
        self.categories.extend(categories);
        self
    }

    /// Whether the event is one of them.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        let category = event.stream.category();
        let type_fits = self.types.is_empty() || self.types.contains(&event.event_type);
        let named = self.categories.contains(&category);
        type_fits && (named || (self.categories.is_empty() && category.as_str() != CATEGORY))
    }

    /// The same as a query for a store, which does not know of the exception.
    pub(crate) fn query(&self) -> Query {
        let item = QueryItem::new().types(self.types.iter().cloned());
        Query::of(self.categories.iter().cloned().fold(item, QueryItem::category))
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.types.len() > Self::NAMES_MAX || self.categories.len() > Self::NAMES_MAX
    }
}

/// What happens to a webhook. Its secrets are not in here, only which they are.
#[derive(Clone, Debug, PartialEq, Eq, Event)]
#[expect(clippy::exhaustive_enums, reason = "whoever folds them must see all")]
pub enum WebhookEvent {
    /// It was registered, enabled.
    WebhookRegistered {
        /// Where it leads.
        url: String,
        /// Which events are sent there.
        filter: EventFilter,
        /// What it is for.
        description: Option<String>,
        /// The secret that signs.
        key: KeyId,
    },
    /// Its owner changed it.
    WebhookUpdated {
        /// Where it leads.
        url: String,
        /// Which events are sent there.
        filter: EventFilter,
        /// What it is for.
        description: Option<String>,
    },
    /// It got another secret. Those before sign beside it for a while.
    WebhookSecretRotated {
        /// The new one.
        key: KeyId,
        /// Until when those before are valid.
        others_until: Timestamp,
    },
    /// Nothing is sent any more.
    WebhookDisabled {
        /// Why.
        reason: String,
    },
    /// It is sent again, what happens from now on.
    WebhookEnabled,
    /// Attempt after attempt has failed.
    WebhookFailing {
        /// When the first of them was made.
        since: Timestamp,
        /// What became of the last of them.
        error: String,
    },
    /// Messages arrive again.
    WebhookRecovered,
    /// It is gone for ever.
    WebhookRemoved,
}
use WebhookEvent::{
    WebhookDisabled, WebhookEnabled, WebhookFailing, WebhookRecovered, WebhookRegistered,
    WebhookRemoved, WebhookSecretRotated, WebhookUpdated,
};

/// A webhook, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Aggregate)]
#[aggregate(category = "webhook", event = WebhookEvent)]
#[non_exhaustive]
pub struct Webhook {
    /// Where it leads.
    pub url: String,
    /// Which events are sent there.
    pub filter: EventFilter,
    /// What it is for.
    pub description: Option<String>,
    /// Whether anything is sent.
    pub status: WebhookStatus,
    /// Since when every attempt has failed, if they do.
    pub failing_since: Option<Timestamp>,
    /// Its secrets, the newest first, with the moment until which each is valid.
    pub(crate) keys: Vec<(KeyId, Option<Timestamp>)>,
}

/// Whether anything is sent to a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fifth")]
pub enum WebhookStatus {
    /// There is no such webhook.
    #[default]
    Unknown,
    /// Events are sent.
    Enabled,
    /// Nothing is sent.
    Disabled {
        /// Why.
        reason: String,
    },
    /// There was one.
    Removed,
}

impl Apply<WebhookEvent> for Webhook {
    fn apply(&mut self, event: WebhookEvent) {
        match event {
            WebhookRegistered { url, filter, description, key } => {
                let status = WebhookStatus::Enabled;
                let keys = vec![(key, None)];
                *self = Self { url, filter, description, status, failing_since: None, keys };
            }
            WebhookUpdated { url, filter, description } => {
                (self.url, self.filter, self.description) = (url, filter, description);
            }
            WebhookSecretRotated { key, others_until } => {
                for (_, until) in &mut self.keys {
                    *until = Some(until.map_or(others_until, |until| until.min(others_until)));
                }
                self.keys.insert(0, (key, None));
                self.keys.truncate(Self::KEYS_MAX);
            }
            WebhookDisabled { reason } => self.status = WebhookStatus::Disabled { reason },
            WebhookEnabled => (self.status, self.failing_since) = (WebhookStatus::Enabled, None),
            WebhookFailing { since, .. } => self.failing_since = Some(since),
            WebhookRecovered => self.failing_since = None,
            WebhookRemoved => self.status = WebhookStatus::Removed,
        }
    }
}

impl Webhook {
    /// The most secrets that sign at the same time: the newest ones.
    pub const KEYS_MAX: usize = 4;

    /// The secrets that are valid, the newest first.
    pub(crate) fn valid_keys(&self, now: Timestamp) -> impl Iterator<Item = &KeyId> {
        let valid = move |until: &Option<Timestamp>| until.is_none_or(|until| now < until);
        self.keys.iter().filter(move |(_, until)| valid(until)).map(|(key, _)| key)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.status == WebhookStatus::Enabled
    }
}

/// The time from one moment to a later one.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let micros = later.as_micros().saturating_sub(earlier.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
