//! What may be asked of a webhook.

use annals::{Command, FieldErrors, Timestamp};

use crate::webhook::WebhookEvent::{
    self, WebhookDisabled, WebhookEnabled, WebhookFailing, WebhookRecovered, WebhookRegistered,
    WebhookRemoved, WebhookSecretRotated, WebhookUpdated,
};
use crate::webhook::{EventFilter, KeyId, Webhook, WebhookStatus};

/// What may be asked of a webhook. Ask it through [`Webhooks`](crate::Webhooks), which takes care
/// of the secrets and of where a URL may lead.
#[derive(Clone, Debug)]
pub(crate) enum WebhookCommand {
    Register { url: String, filter: EventFilter, description: Option<String>, key: KeyId },
    Update { url: String, filter: EventFilter, description: Option<String> },
    Rotate { key: KeyId, others_until: Timestamp },
    Disable { reason: String },
    Enable,
    NoteFailing { since: Timestamp, error: String },
    NoteRecovered,
    Remove,
}
use WebhookCommand::{
    Disable, Enable, NoteFailing, NoteRecovered, Register, Remove, Rotate, Update,
};

/// The most characters of a description, a reason or an error.
pub(crate) const TEXT_MAX: usize = 500;

impl Command<Webhook> for WebhookCommand {
    type Error = WebhookRefusal;

    fn field_errors(&self) -> FieldErrors {
        let none = FieldErrors::none();
        match self {
            Register { filter, description, .. } | Update { filter, description, .. } => none
                .check(
                    !filter.is_too_long(),
                    "filter",
                    "length",
                    "name at most 100 types and 100 categories",
                )
                .check(is_short(description.as_deref()), "description", "length", TOO_LONG),
            Disable { reason } => none.check(is_short(Some(reason)), "reason", "length", TOO_LONG),
            _ => none,
        }
    }

    fn decide(self, webhook: &Webhook) -> Result<Vec<WebhookEvent>, WebhookRefusal> {
        let enabled = match (&webhook.status, &self) {
            (WebhookStatus::Unknown, Register { .. }) => false,
            (_, Register { .. }) => return Err(WebhookRefusal::Exists),
            (WebhookStatus::Unknown, _) => return Err(WebhookRefusal::Unknown),
            (WebhookStatus::Removed, Remove) => return Ok(vec![]),
            (WebhookStatus::Removed, _) => return Err(WebhookRefusal::Removed),
            (WebhookStatus::Enabled, _) => true,
            (WebhookStatus::Disabled { .. }, _) => false,
        };
        let failing = webhook.failing_since.is_some();
        let event = match self {
            Register { url, filter, description, key } => {
                WebhookRegistered { url, filter, description, key }
            }
            Update { url, filter, description } => {
                let same = (&url, &filter, &description)
                    == (&webhook.url, &webhook.filter, &webhook.description);
                if same {
                    return Ok(vec![]);
                }
                WebhookUpdated { url, filter, description }
            }
            Rotate { key, others_until } => WebhookSecretRotated { key, others_until },
            Disable { reason } if enabled => WebhookDisabled { reason },
            Enable if !enabled => WebhookEnabled,
            NoteFailing { since, error } if enabled && !failing => WebhookFailing { since, error },
            NoteRecovered if failing => WebhookRecovered,
            Remove => WebhookRemoved,
            Disable { .. } | Enable | NoteFailing { .. } | NoteRecovered => return Ok(vec![]),
        };
        Ok(vec![event])
    }
}

const TOO_LONG: &str = "write at most 500 characters";

fn is_short(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.chars().count() <= TEXT_MAX)
}

/// Why a webhook is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookRefusal {
    /// The id is taken.
    #[error("there is, or was, a webhook with this id; choose another id")]
    Exists,
    /// It was removed.
    #[error("the webhook was removed; register another one")]
    Removed,
    /// It was never registered.
    #[error("there is no such webhook; register it first")]
    Unknown,
}
