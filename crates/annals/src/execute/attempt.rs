//! The course of everything that is executed: recognise a repeat, decide, append; on a conflict
//! decide again.

use annals_core::error::{AppendError, Conflict, ReadError};
use annals_core::{Append, Position, Read, Receipt, RecordedEvent};
use futures_util::TryStreamExt;

use crate::error::{ExecuteError, LoadError};
use crate::execute::how::{CommandMark, How, check_not_reserved};
use crate::execute::open::{is_about_markers, open_conditions};
use crate::retry::Attempts;
use crate::{Annals, Context, RetryPolicy};

/// Something that can be decided again and again, each time with what has come since.
pub(crate) trait Deciding: Send {
    /// Why the domain may refuse it.
    type Refusal: Send;
    /// Whether it writes to streams that it has not loaded, so that it is to be seen whether they
    /// are open.
    const BLIND: bool = true;
    /// Whether what it records is the framework's own.
    const OURS: bool = false;
    /// Whether its events have the ids already that they are appended with.
    fn keeps_ids(&self) -> bool {
        false
    }

    /// What it is, in one line; another command under the same id says something else.
    fn what(&self) -> String;

    /// Loads what has come since and decides; an append without streams when nothing happens.
    fn decide(
        &mut self,
    ) -> impl Future<Output = Result<Append, ExecuteError<Self::Refusal>>> + Send;

    /// Whether deciding again can help against this.
    fn may_decide_again(&self, _conflict: &Conflict) -> bool {
        true
    }
}

/// What came of it.
pub(crate) enum Outcome {
    Nothing,
    /// This was recorded, by this append.
    Appended(Receipt, Append),
    /// It had been done before, and had left these events.
    Repeated(Receipt, Vec<RecordedEvent>),
}

impl Annals {
    pub(crate) async fn attempt<D: Deciding>(
        &self,
        how: &How,
        deciding: &mut D,
    ) -> Result<Outcome, ExecuteError<D::Refusal>> {
        let policy = how.retry.as_ref().unwrap_or(&self.retry);
        let command = how.mark(|| deciding.what())?;
        let mut attempts = Attempts::first(policy);
        let mut open_since = Position::START;
        loop {
            if let Some(repeated) = self.repeated(command.as_ref()).await? {
                return Ok(repeated);
            }
            let append = match self.decided(deciding, command.as_ref(), open_since).await {
                Ok(append) if !append.streams.is_empty() => append,
                // Perhaps somebody has executed the very same a moment ago, and that is why.
                nothing => {
                    let repeated = self.repeated(command.as_ref()).await?;
                    return repeated.map_or(nothing.map(|_| Outcome::Nothing), Ok);
                }
            };
            let conflict = match self.append_certainly(&append, policy).await {
                Ok(receipt) => return Ok(Outcome::Appended(receipt, append)),
                Err(AppendError::Conflict(conflict)) => conflict,
                Err(unknown @ AppendError::Indeterminate(_)) => {
                    return Err(ExecuteError::Indeterminate(unknown));
                }
                Err(error) => return Err(ExecuteError::Append(error)),
            };
            if D::BLIND && is_about_markers(&conflict, &append) {
                let supposed = std::mem::replace(&mut open_since, self.open_since(&append).await?);
                // A stream that was restored is no conflict; now it is known.
                if supposed == Position::START && open_since > supposed {
                    continue;
                }
            }
            if !deciding.may_decide_again(&conflict) || !attempts.next().await {
                let repeated = self.repeated(command.as_ref()).await?;
                let attempts = attempts.made();
                return repeated.ok_or(ExecuteError::Conflict { attempts, conflict });
            }
        }
    }

    /// The append that is decided now, with all that belongs to it.
    async fn decided<D: Deciding>(
        &self,
        deciding: &mut D,
        command: Option<&CommandMark>,
        open_since: Position,
    ) -> Result<Append, ExecuteError<D::Refusal>> {
        let mut append = deciding.decide().await?;
        if append.streams.is_empty() {
            return Ok(append);
        }
        if !D::OURS {
            append.events().try_for_each(check_not_reserved)?;
        }
        if D::BLIND {
            let open: Vec<_> = open_conditions(&append, open_since).collect();
            append.conditions.extend(open);
        }
        self.stamp(&mut append, command);
        if !deciding.keeps_ids() {
            self.identify(&mut append);
        }
        Ok(append)
    }

    /// What the same command has left before, if it has.
    async fn repeated<E>(
        &self,
        command: Option<&CommandMark>,
    ) -> Result<Option<Outcome>, ExecuteError<E>> {
        let Some(command) = command else { return Ok(None) };
        // One append made all of them, so there are no more than an append may have.
        let most = self.store().limits().append_events_max as u64;
        let left = self.store().read(Read::query(command.left()).limit(most));
        let left: Result<Vec<RecordedEvent>, ReadError> = left.try_collect().await;
        let left = left.map_err(LoadError::from)?;
        let Some(first) = left.first() else { return Ok(None) };
        let was = first.metadata.get(Context::COMMAND);
        if was.as_ref().and_then(|was| was.as_str()) != Some(&command.what) {
            return Err(ExecuteError::CommandId { id: command.id.clone() });
        }
        let standing = left.iter().map(|event| (event.position, &event.stream, event.version));
        let receipt = Receipt::of(first.recorded_at, standing);
        Ok(receipt.map(|receipt| Outcome::Repeated(receipt, left)))
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
