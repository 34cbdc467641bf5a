//! Refused commands, recorded for audit when that is asked for.

use std::error::Error;

use annals_core::{Append, Data, EventType, ExpectedVersion, NewEvent, StreamId};
use serde_json::json;

use crate::{Annals, ExecuteError, FieldErrors};

/// What stands before a stream's name in the name of the stream of its refusals.
const CATEGORY: &str = "refusal";
pub(crate) const COMMAND_REFUSED: &str = "CommandRefused";

/// What was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused<'a> {
    /// A command to this stream.
    Command(&'a StreamId),
    /// A decision, which concerns no stream until it is made.
    Decision,
}

impl Annals {
    /// The append that records that a command was refused, if it was and if that is wanted.
    pub(crate) fn refusal<E: Error>(
        &self,
        what: Refused<'_>,
        command: &str,
        refused: &ExecuteError<E>,
    ) -> Option<Append> {
        if !self.records_refusals || !is_refusal(refused) {
            return None;
        }
        match append_of(what, command, refused) {
            Ok(mut append) => {
                self.stamp(&mut append, None);
                Some(append)
            }
            Err(invalid) => {
                tracing::warn!(%invalid, command, "a refusal cannot be recorded");
                None
            }
        }
    }

    /// The answer to the command is the refusal, whether that could be recorded or not; so a
    /// store that fails is a warning.
    pub(crate) async fn record_refusal(&self, refusal: Append) {
        if let Err(error) = self.append_certainly(&refusal, &self.retry).await {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }
}

/// Whether it is an answer to what was asked, as success would be.
pub(crate) fn is_refusal<E>(error: &ExecuteError<E>) -> bool {
    use ExecuteError::{Denied, Invalid, Refused, Standing};
    matches!(error, Denied(_) | Invalid(_) | Refused(_) | Standing(_))
}

fn append_of<E: Error>(
    what: Refused<'_>,
    command: &str,
    refused: &ExecuteError<E>,
) -> Result<Append, annals_core::InvalidName> {
    let none = FieldErrors::none();
    let fields = match refused {
        ExecuteError::Invalid(errors) => errors,
        _ => &none,
    };
    let mut data = json!({
        "command": command,
        "code": refused.code(),
        "message": refused.to_string(),
        "fields": fields,
    });
    let refusals = match what {
        Refused::Command(stream) => {
            data["stream"] = json!(stream);
            StreamId::of(CATEGORY, stream)?
        }
        Refused::Decision => StreamId::of(CATEGORY, command)?,
    };
    let data = Data::json(data.to_string());
    let event = NewEvent::new(EventType::from_static(COMMAND_REFUSED), data);
    Ok(Append::to(refusals, ExpectedVersion::Any, [event]))
}
