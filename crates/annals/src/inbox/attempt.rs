//! One attempt at a delivery.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_core::{Attempt, Delivery, Enqueue, RecordedEvent, Settled, Then, Timestamp};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::current::{Current, Unclear};
use super::engine::Engine;
use super::Inbox;
use crate::{Context, ReactError, ReactErrorKind, Reacting};

/// The most bytes of an error or a note that are kept.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Why a delivery was not made.
enum Failed {
    /// The reactor was not asked: the log or the queue does not answer. The attempt does not
    /// count.
    NotTried(String),
    /// It has failed, and this is to be done.
    Tried(ReactErrorKind, String),
}

/// Makes an attempt, and says what came of it.
pub(super) async fn attempt(engine: &Engine, inbox: &Inbox, delivery: Delivery) -> Settled {
    let at = engine.now();
    let begun = Instant::now();
    let mut note = None;
    let mut since = delivery.enqueued_at;
    let result = match engine.find(&delivery.event).await {
        Ok(Some(current)) => {
            since = since.max(due(inbox, &current));
            react_to(engine, inbox, &delivery, &current, &mut note).await
        }
        Ok(None) => Err(permanent("its event is not in the log; skip it, or restore the log")),
        Err(error) => Err(Failed::NotTried(chain(&error))),
    };
    let made = Attempt {
        number: delivery.attempt,
        at,
        duration: begun.elapsed(),
        error: None,
        note: note.map(cut),
    };
    let Delivery { id, token, .. } = delivery;
    let span = (&id, made.number);
    let (attempt, then) = match result {
        Ok(()) => (Some(made), Then::Done),
        Err(Failed::NotTried(error)) => {
            tracing::warn!(inbox = %inbox.name, delivery = %id, error, "a delivery is put back, because it cannot be tried now");
            (None, Then::GiveBack(engine.now().saturating_add(engine.settings.poll)))
        }
        Err(Failed::Tried(kind, error)) => {
            let then = inbox.retries.then(kind, made.number, since, engine.now());
            log(inbox, span, &error, then);
            (Some(Attempt { error: Some(cut(error)), ..made }), then)
        }
    };
    Settled { id, token, attempt, then }
}

/// Hands the event, or those it was split into, to the reactor.
async fn react_to(
    engine: &Engine,
    inbox: &Inbox,
    delivery: &Delivery,
    current: &Arc<Current>,
    note: &mut Option<String>,
) -> Result<(), Failed> {
    if inbox.recipients.is_some() && delivery.recipient.is_none() {
        return hand_on(engine, inbox, current).await;
    }
    let accepted = inbox.accepted(current).map_err(unclear)?;
    let parts = accepted.into_iter().map(|(part, event)| (part, event.clone())).collect::<Vec<_>>();
    let reacting = Reacting::new(
        delivery.id.clone(),
        delivery.attempt,
        delivery.recipient.clone(),
        current.stored.clone(),
    );
    let reacted = react_to_parts(inbox, &reacting, parts);
    // A panic is caught where it happens, so that it takes nothing with it.
    let result = tokio::time::timeout(inbox.timeout, AssertUnwindSafe(reacted).catch_unwind()).await;
    *note = reacting.noted();
    match result {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(classified(inbox, &error)),
        Ok(Err(panic)) => {
            let error = format!("the reactor panicked: {}", said(&*panic));
            Err(Failed::Tried(ReactErrorKind::Transient, error))
        }
        Err(_) => {
            let error = format!("the reactor took longer than {:?}", inbox.timeout);
            Err(Failed::Tried(ReactErrorKind::Transient, error))
        }
    }
}

async fn react_to_parts(
    inbox: &Inbox,
    reacting: &Reacting,
    parts: Vec<(usize, RecordedEvent)>,
) -> Result<(), ReactError> {
    for (part, event) in parts {
        let context = Context::because_of(&event);
        let reacting = reacting.part(part, event);
        context.scope(inbox.reactor.react(&reacting)).await?;
    }
    Ok(())
}

/// To whom it goes was not clear when it was enqueued; now it may be.
async fn hand_on(engine: &Engine, inbox: &Inbox, current: &Current) -> Result<(), Failed> {
    let now = engine.now();
    let deliveries = inbox.clear_deliveries(current, now).map_err(unclear)?;
    let enqueue = Enqueue { deliveries, advances: Vec::new() };
    let enqueued = engine.queue.enqueue(enqueue, now).await;
    engine.signals.wake(&inbox.name);
    enqueued.map(drop).map_err(|error| Failed::NotTried(chain(&error)))
}

fn due(inbox: &Inbox, current: &Current) -> Timestamp {
    let accepted = inbox.accepted(current).ok();
    let first = accepted.and_then(|accepted| accepted.first().map(|(_, event)| *event));
    first.and_then(|event| inbox.due_at(event).ok().flatten()).unwrap_or(Timestamp::MIN)
}

fn classified(inbox: &Inbox, error: &ReactError) -> Failed {
    let asked = inbox.classify.as_ref().map(|classify| {
        std::panic::catch_unwind(AssertUnwindSafe(|| classify(error))).unwrap_or(error.kind())
    });
    Failed::Tried(asked.unwrap_or(error.kind()), chain(error.source()))
}

fn unclear(unclear: Unclear) -> Failed {
    let kind = match unclear {
        Unclear::Decode(_) => ReactErrorKind::Permanent,
        Unclear::Panicked { .. } | Unclear::Invalid(_) => ReactErrorKind::Transient,
    };
    Failed::Tried(kind, chain(&unclear))
}

fn permanent(error: &str) -> Failed {
    Failed::Tried(ReactErrorKind::Permanent, error.to_owned())
}

fn log(inbox: &Inbox, (delivery, attempt): (&annals_core::DeliveryId, u32), error: &str, then: Then) {
    match then {
        Then::Again(again) => tracing::warn!(
            inbox = %inbox.name, %delivery, attempt, error, %again,
            "a delivery has failed and is tried again"
        ),
        _ => tracing::error!(
            inbox = %inbox.name, %delivery, attempt, error,
            "a delivery has failed and is a dead letter now; retry or skip it"
        ),
    }
}

/// An error with all its reasons.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut reason = error.source();
    while let Some(error) = reason {
        text.push_str(": ");
        text.push_str(&error.to_string());
        reason = error.source();
    }
    text
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "something that is no text".to_owned())
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}
