//! One attempt at a delivery.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_core::error::ReadError;
use annals_core::{
    Attempt, Delivery, Enqueue, ReadSideError, RecordedEvent, Settled, Then, Timestamp,
};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::Inbox;
use super::current::{Current, Unclear};
use super::engine::Engine;
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

/// What an attempt has found out so far, whatever becomes of it.
struct Found {
    note: Option<String>,
    /// From when on its age is counted.
    since: Timestamp,
}

/// Makes an attempt, and says what came of it. A panic, wherever it happens, is that of this
/// attempt alone.
pub(super) async fn attempt(engine: &Engine, inbox: &Inbox, delivery: Delivery) -> Settled {
    let at = engine.now();
    let begun = Instant::now();
    let mut found = Found { note: None, since: delivery.enqueued_at };
    let making = AssertUnwindSafe(make(engine, inbox, &delivery, &mut found));
    let result = making.catch_unwind().await.unwrap_or_else(|panic| {
        let error = format!("the attempt panicked: {}", said(&*panic));
        Err(Failed::Tried(ReactErrorKind::Transient, error))
    });
    let made = Attempt {
        number: delivery.attempt,
        at,
        duration: begun.elapsed(),
        error: None,
        note: found.note.map(cut),
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
            let then = inbox.retries.then(kind, made.number, found.since, engine.now());
            log(inbox, span, &error, then);
            (Some(Attempt { error: Some(cut(error)), ..made }), then)
        }
    };
    Settled { id, token, attempt, then }
}

async fn make(
    engine: &Engine,
    inbox: &Inbox,
    delivery: &Delivery,
    found: &mut Found,
) -> Result<(), Failed> {
    // Before anything is done that may have killed whoever made the last one.
    inbox.retries.allows_attempt(delivery.attempt).map_err(|spent| permanent(&spent))?;
    let current = engine.find(&delivery.event).await.map_err(|error| unread(&error))?;
    let current = current.ok_or(NotInTheLog).map_err(|error| permanent(&error))?;
    found.since = found.since.max(due(inbox, &current));
    if let Err(spent) = inbox.retries.allows_age(found.since, engine.now())
        && !is_retried_by_hand(engine, delivery).await?
    {
        return Err(permanent(&spent));
    }
    react_to(engine, inbox, delivery, &current, &mut found.note).await
}

/// Whether somebody wants this attempt, whatever the age: its attempts are counted anew, and there
/// are some from before.
async fn is_retried_by_hand(engine: &Engine, delivery: &Delivery) -> Result<bool, Failed> {
    if delivery.attempt > 1 {
        return Ok(false);
    }
    let before = engine.queue.attempts(&delivery.id).await.map_err(|error| unqueued(&error))?;
    Ok(!before.is_empty())
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
    let accepted = inbox.accepted(current).map_err(|fault| unclear(&fault))?;
    let parts = accepted.into_iter().map(|(part, event)| (part, event.clone())).collect::<Vec<_>>();
    let reacting = Reacting::new(
        delivery.id.clone(),
        delivery.attempt,
        delivery.recipient.clone(),
        current.stored.clone(),
    );
    let reacted = react_to_parts(inbox, &reacting, parts);
    // A panic is caught where it happens, so that it takes nothing with it.
    let result =
        tokio::time::timeout(inbox.timeout, AssertUnwindSafe(reacted).catch_unwind()).await;
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
        let reacting = reacting.with_part(part, event);
        context.scope(inbox.reactor.react(&reacting)).await?;
    }
    Ok(())
}

/// To whom it goes was not clear when it was enqueued; now it may be.
async fn hand_on(engine: &Engine, inbox: &Inbox, current: &Current) -> Result<(), Failed> {
    let now = engine.now();
    let deliveries = inbox.clear_deliveries(current, now).map_err(|fault| unclear(&fault))?;
    let enqueue = Enqueue { deliveries, advances: Vec::new() };
    let enqueued = engine.queue.enqueue(enqueue, now).await;
    engine.signals.wake(&inbox.name);
    enqueued.map(drop).map_err(|error| unqueued(&error))
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

fn unclear(unclear: &Unclear) -> Failed {
    let kind = match unclear {
        Unclear::Decode(_) => ReactErrorKind::Permanent,
        Unclear::Panicked { .. } | Unclear::Invalid(_) => ReactErrorKind::Transient,
    };
    Failed::Tried(kind, chain(unclear))
}

/// What the log says now may be different later, or it will always be that.
fn unread(error: &ReadError) -> Failed {
    match error {
        ReadError::Closed | ReadError::Unavailable(_) => Failed::NotTried(chain(error)),
        _ => permanent(error),
    }
}

/// The same of the queue.
fn unqueued(error: &ReadSideError) -> Failed {
    match error {
        ReadSideError::Closed | ReadSideError::Unavailable(_) => Failed::NotTried(chain(error)),
        _ => permanent(error),
    }
}

fn permanent(error: &(dyn Error + 'static)) -> Failed {
    Failed::Tried(ReactErrorKind::Permanent, chain(error))
}

#[derive(Debug, thiserror::Error)]
#[error("its event is not in the log; skip it, or restore the log")]
struct NotInTheLog;

fn log(
    inbox: &Inbox,
    (delivery, attempt): (&annals_core::DeliveryId, u32),
    error: &str,
    then: Then,
) {
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
