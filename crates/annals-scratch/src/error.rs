//! What can go wrong before a server can be used.

use std::io;

use crate::binaries::{INSTALL, OLDEST_VERSION};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no server, or no database in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL was found, or only older ones.
    #[error("PostgreSQL {OLDEST_VERSION} or newer is not here ({found}); {INSTALL}")]
    Missing {
        /// What was found instead.
        found: String,
    },

    /// PostgreSQL does not run as root, and there is nobody else to run it.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` to run it; create \
         that user, or do not run as root"
    )]
    NoAccount,

    /// Something between this process and the operating system failed.
    #[error("{what} failed")]
    System {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// A program of PostgreSQL failed.
    #[error("{program} failed; it says:\n{says}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it printed or logged, the end of it.
        says: String,
    },

    /// The server cannot be asked for this in its present state.
    #[error("the server is {state}; {instead}")]
    State {
        /// What the server is.
        state: &'static str,
        /// What to do first.
        instead: &'static str,
    },

    /// The server did not do as told.
    #[error("the server at {server} did not {what}; see that it runs and that its user may")]
    Server {
        /// Host and port.
        server: String,
        /// What was asked of it.
        what: String,
        /// What it answered.
        source: Cause,
    },

    /// The address of the shared server cannot be understood.
    #[error("{variable} is not the URL of a server; set it as postgres://user@host:port/postgres")]
    Address {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        source: Cause,
    },
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The message with everything that caused it, for a test that ends here.
    #[cfg(feature = "databases")]
    pub(crate) fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let message = error.to_string();
            // The driver's errors repeat their cause.
            if !text.ends_with(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        text
    }
}
