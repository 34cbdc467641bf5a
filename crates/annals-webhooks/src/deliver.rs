//! One attempt: an event to a webhook, and what follows from what came back.

use std::error::Error;
use std::time::Duration;

use annals::{RecordedEvent, Timestamp};
use tokio::time::Instant;

use crate::attempts::WebhookAttempt;
use crate::body::body;
use crate::command::{TEXT_MAX, WebhookCommand};
use crate::health::Finding;
use crate::outcome::Outcome;
use crate::registrations::{Registration, RegistrationsError};
use crate::secrets::SecretsError;
use crate::send::{Answer, Message, SendError};
use crate::signature::Secret;
use crate::webhook::{KeyId, WebhookId, WebhookStatus};
use crate::webhooks::{Webhooks, chain};

const DISABLED_WAIT: Duration = Duration::from_mins(1);

/// An event on its way to a webhook.
pub(crate) struct Errand<'a> {
    /// The `webhook-id` of its message.
    pub(crate) id: &'a str,
    pub(crate) webhook: &'a WebhookId,
    pub(crate) event: &'a RecordedEvent,
    /// The number of this attempt, from 1.
    pub(crate) attempt: u32,
    /// Whether no attempt follows this one if it fails.
    pub(crate) is_last: bool,
}

impl Webhooks {
    /// Whether the event is to be sent, or its filter has changed while it waited. One of those
    /// that an event was split into may be wanted, and another may not.
    pub(crate) async fn still_wants(
        &self,
        webhook: &WebhookId,
        event: &RecordedEvent,
    ) -> Result<bool, RegistrationsError> {
        let all = self.registrations().lately().await?;
        Ok(all.get(webhook).is_none_or(|each| each.webhook.filter.matches(event)))
    }

    /// Makes one attempt. What is to be recorded of the webhook because of it is recorded.
    pub(crate) async fn deliver(&self, errand: &Errand<'_>) -> Result<Answer, Undelivered> {
        let all = self.registrations().lately().await?;
        let registration = all.get(errand.webhook).ok_or(Undelivered::Unknown)?;
        match &registration.webhook.status {
            WebhookStatus::Enabled => {}
            WebhookStatus::Disabled { reason } => {
                return Err(Undelivered::Disabled { reason: reason.clone() });
            }
            WebhookStatus::Unknown | WebhookStatus::Removed => return Err(Undelivered::Unknown),
        }
        let now = self.options().clock.now();
        let secrets = self.valid_secrets(registration, now).await?;
        let began = Instant::now();
        let message =
            Message { id: errand.id, body: body(errand.event), secrets: &secrets, sent_at: now };
        let sent = self.sender().send(&registration.webhook.url, message).await;

        let outcome = Outcome::of(&sent, self.options().retry_after_max);
        let undelivered = match sent {
            Ok(answer) if outcome == Outcome::Delivered => Ok(answer),
            Ok(answer) => Err(Undelivered::Answered { answer, outcome }),
            Err(error) => Err(Undelivered::Unanswered(error)),
        };
        self.kept().keep(errand.webhook, attempt(errand, now, began, outcome, &undelivered));
        self.follow(errand, registration, outcome, &undelivered).await;
        undelivered
    }

    async fn valid_secrets(
        &self,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<Vec<Secret>, Undelivered> {
        let mut secrets = Vec::new();
        for key in registration.webhook.valid_keys(now) {
            let secret = self.secrets().get(&registration.id, key).await?;
            secrets.push(secret.ok_or_else(|| Undelivered::NoSecret { key: key.clone() })?);
        }
        Ok(secrets)
    }

    /// Records what follows. If that fails, it is found again at the next attempt.
    async fn follow(
        &self,
        errand: &Errand<'_>,
        registration: &Registration,
        outcome: Outcome,
        sent: &Result<Answer, Undelivered>,
    ) {
        let recorded = registration.webhook.failing_since;
        let (now, policy) = (self.options().clock.now(), &self.options().disabling);
        let given_up = errand.is_last || !matches!(outcome, Outcome::Transient { .. });
        let finding = self.kept().health(errand.webhook, |health| match outcome {
            Outcome::Delivered => health.delivered(recorded),
            Outcome::Gone => {
                Some(Finding::Disable { reason: "the receiver answered 410 Gone".into() })
            }
            _ => health.failed(recorded, given_up, now, policy),
        });
        let Some(finding) = finding else { return };
        let error = sent.as_ref().err().map(|error| chain(error)).unwrap_or_default();
        let command = match finding {
            Finding::Failing { since } => {
                let error = error.chars().take(TEXT_MAX).collect();
                WebhookCommand::NoteFailing { since, error }
            }
            Finding::Recovered => WebhookCommand::NoteRecovered,
            Finding::Disable { reason } => WebhookCommand::Disable { reason },
        };
        if let Err(error) = self.execute(errand.webhook, command).await {
            let error: &(dyn Error + 'static) = &error;
            tracing::warn!(error, webhook = %errand.webhook, "the state of a webhook is not recorded");
        }
    }
}

fn attempt(
    errand: &Errand<'_>,
    at: Timestamp,
    began: Instant,
    outcome: Outcome,
    sent: &Result<Answer, Undelivered>,
) -> WebhookAttempt {
    let answer = answer_of(sent);
    WebhookAttempt {
        id: errand.id.to_owned(),
        event: errand.event.id,
        number: errand.attempt,
        at,
        duration: began.elapsed(),
        outcome,
        status: answer.map(|answer| answer.status),
        response: answer.map(|answer| answer.body.clone()).unwrap_or_default(),
        truncated: answer.is_some_and(|answer| answer.truncated),
        error: sent.as_ref().err().map(|error| chain(error)),
    }
}

/// What the receiver said, whatever it was.
pub(crate) fn answer_of(sent: &Result<Answer, Undelivered>) -> Option<&Answer> {
    match sent {
        Ok(answer) | Err(Undelivered::Answered { answer, .. }) => Some(answer),
        Err(_) => None,
    }
}

/// Why an event was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Undelivered {
    #[error("{}", said(.answer))]
    Answered { answer: Answer, outcome: Outcome },
    #[error("the webhook is disabled ({reason}); what waits is sent when it is enabled")]
    Disabled { reason: String },
    #[error("the secret {key} is not kept any more; put it back, or rotate")]
    NoSecret { key: KeyId },
    #[error(transparent)]
    Registrations(#[from] RegistrationsError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Unanswered(SendError),
    #[error("there is no such webhook any more; skip the delivery")]
    Unknown,
}

impl Undelivered {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Answered { outcome, .. } => *outcome,
            // It waits until the inbox has noticed, and then until the webhook is enabled.
            Self::Disabled { .. } => Outcome::Transient { retry_after: Some(DISABLED_WAIT) },
            Self::Unknown => Outcome::Permanent,
            Self::NoSecret { .. } | Self::Registrations(_) | Self::Secrets(_) => {
                Outcome::Transient { retry_after: None }
            }
            Self::Unanswered(error) if error.is_transient() => {
                Outcome::Transient { retry_after: None }
            }
            Self::Unanswered(_) => Outcome::Permanent,
        }
    }
}

fn said(answer: &Answer) -> String {
    let status = answer.status;
    match status {
        300..=399 => format!(
            "the receiver answered {status}, a redirect, which is not followed; register the URL \
             that it leads to"
        ),
        410 => {
            "the receiver answered 410: it wants nothing more, and the webhook is disabled".into()
        }
        _ => format!("the receiver answered {status}"),
    }
}
