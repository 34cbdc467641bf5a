//! Why a command failed, and the exit code that tells so.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use annals::StatusError;
use annals_core::error::Chain;
use annals_core::{AppendError, ReadError, ReadSideError, SnapshotError};

const FAILED: u8 = 1;
const INVALID: u8 = 2;
const CONFLICT: u8 = 3;
const INDETERMINATE: u8 = 4;

/// What is told on stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
    /// The reader of stdout has gone, as `head` does once it has enough: nothing went wrong.
    is_closed_pipe: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED, is_closed_pipe: false }
    }

    /// What was typed cannot be meant.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { code: INVALID, ..Self::new(message) }
    }

    /// A failure while `doing`, with the error and its sources.
    pub(crate) fn because(doing: impl fmt::Display, error: &dyn Error) -> Self {
        Self::new(format!("{doing}: {}", Chain(error)))
    }

    /// The same, with where it happened before the message.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same, with what else may help behind the message.
    pub(crate) fn then_hint(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    /// Tells the failure, unless nothing went wrong, and turns it into the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_closed_pipe {
            return ExitCode::SUCCESS;
        }
        crate::output::note(&format!("annals: {}", self.message));
        ExitCode::from(self.code)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let code = match error {
            AppendError::Conflict(_) => CONFLICT,
            AppendError::Indeterminate(_) => INDETERMINATE,
            AppendError::Invalid(_) => INVALID,
            _ => FAILED,
        };
        Self { code, ..Self::new(Chain(&error).to_string()) }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Invalid(_) => INVALID,
            _ => FAILED,
        };
        Self { code, ..Self::new(Chain(&error).to_string()) }
    }
}

impl From<ReadSideError> for Failure {
    fn from(error: ReadSideError) -> Self {
        if let ReadSideError::Unknown(name) = &error {
            return Self::new(format!(
                "{name} is not known here; look at the name and at --read-side: one becomes known \
                 when an application first runs it"
            ));
        }
        let code = match error {
            ReadSideError::Invalid(_) => INVALID,
            _ => FAILED,
        };
        Self { code, ..Self::new(Chain(&error).to_string()) }
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::ReadSide(error) => error.into(),
            error => Self::new(Chain(&error).to_string()),
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let code = match error {
            SnapshotError::Invalid(_) => INVALID,
            _ => FAILED,
        };
        Self { code, ..Self::new(Chain(&error).to_string()) }
    }
}

/// For writing to stdout; other I/O tells what it was doing with [`Failure::because`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            is_closed_pipe: error.kind() == io::ErrorKind::BrokenPipe,
            ..Self::because("writing to stdout", &error)
        }
    }
}
