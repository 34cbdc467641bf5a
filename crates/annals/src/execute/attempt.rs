//! The course of everything that is executed: recognise a repeat, decide, append; on a conflict
//! decide again.

use annals_core::error::{AppendError, ReadError};
use annals_core::{Append, Read, Receipt, StreamId, Tag};
use futures_util::TryStreamExt;

use crate::error::{ExecuteError, LoadError};
use crate::execute::how::{How, left_by};
use crate::retry::Attempts;
use crate::{Annals, RetryPolicy};

/// Something that can be decided again and again, each time with what has come since.
pub(crate) trait Deciding: Send {
    /// Why the domain may refuse it.
    type Refusal: Send;

    /// Loads what has come since and decides; an append without streams when nothing happens.
    fn decide(
        &mut self,
    ) -> impl Future<Output = Result<Append, ExecuteError<Self::Refusal>>> + Send;

    /// Whether it may have written to this stream.
    fn concerns(&self, stream: &StreamId) -> bool;
}

/// What came of it.
pub(crate) enum Outcome {
    Nothing,
    /// Here, by this append.
    Appended(Receipt, Append),
    /// It had been done before.
    Repeated(Receipt),
}

impl Annals {
    pub(crate) async fn attempt<D: Deciding>(
        &self,
        how: &How,
        deciding: &mut D,
    ) -> Result<Outcome, ExecuteError<D::Refusal>> {
        let policy = how.retry.as_ref().unwrap_or(&self.retry);
        let command = how.tag().map_err(LoadError::from)?;
        let mut attempts = Attempts::first(policy);
        loop {
            if let Some(command) = &command
                && let Some(receipt) = self.first_receipt(command).await?
            {
                return repeated(command, receipt, deciding);
            }
            let mut append = deciding.decide().await?;
            if append.streams.is_empty() {
                return Ok(Outcome::Nothing);
            }
            self.stamp(&mut append, command.as_ref());
            match self.append_certainly(&append, policy).await {
                Ok(receipt) => return Ok(Outcome::Appended(receipt, append)),
                Err(AppendError::Conflict(_)) if attempts.next().await => {}
                Err(AppendError::Conflict(conflict)) => {
                    let attempts = attempts.made();
                    return Err(ExecuteError::Conflict { attempts, conflict });
                }
                Err(error) => return Err(ExecuteError::Append(error)),
            }
        }
    }

    /// The receipt of the append that a command with this tag has made before.
    async fn first_receipt(&self, command: &Tag) -> Result<Option<Receipt>, LoadError> {
        let left: Result<Vec<_>, ReadError> =
            self.store().read(Read::query(left_by(command))).try_collect().await;
        let left = left?;
        let Some(first) = left.first() else { return Ok(None) };
        let standing = left.iter().map(|event| (event.position, &event.stream, event.version));
        Ok(Receipt::of(first.recorded_at, standing))
    }

    /// Appends, and repeats an append whose outcome is unknown, event ids and all, until it is
    /// known.
    ///
    /// Once one outcome was unknown, only a receipt or a conflict can tell what became of it: a
    /// receipt is that of the append whichever time it was stored (S7), and a conflict says that
    /// the log has moved past what was expected without it, so that it never will be.
    pub(crate) async fn append_certainly(
        &self,
        append: &Append,
        policy: &RetryPolicy,
    ) -> Result<Receipt, AppendError> {
        let mut attempts = Attempts::first(policy);
        let mut unknown = None;
        loop {
            match self.store().append(append.clone()).await {
                Ok(receipt) => return Ok(receipt),
                Err(error @ AppendError::Conflict(_)) => return Err(error),
                Err(error @ AppendError::Indeterminate(_)) => unknown = Some(error),
                Err(error) if unknown.is_none() => return Err(error),
                Err(_) => {}
            }
            if !attempts.next().await {
                return Err(unknown.expect("without an unknown outcome the loop has returned"));
            }
        }
    }
}

fn repeated<D: Deciding>(
    command: &Tag,
    receipt: Receipt,
    deciding: &D,
) -> Result<Outcome, ExecuteError<D::Refusal>> {
    let mut streams = receipt.streams.iter();
    match streams.find(|part| !deciding.concerns(&part.stream)) {
        None => Ok(Outcome::Repeated(receipt)),
        Some(part) => Err(ExecuteError::CommandId {
            id: command.value().to_owned(),
            stream: part.stream.clone(),
        }),
    }
}
