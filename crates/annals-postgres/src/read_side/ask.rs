//! How the server is asked: again on another connection when one is broken, and again when others
//! stood in the way; and what its errors mean.
//!
//! Everything that is asked here may be asked twice: a fence, an id or a token shows what was done
//! before.

use annals_core::{Fault, ReadError, ReadSideError};
use sqlx_core::error::Error;
use sqlx_core::query::query_with;
use sqlx_postgres::{PgConnection, PgRow};

use super::PostgresReadSide;
use crate::connections::Lent;
use crate::fault::{read_error, sqlstate};
use crate::schema::SchemaName;
use crate::sql::Sql;

/// How often something is asked again that met others.
const MEETINGS_MAX: usize = 8;

/// What was asked, and refused for a reason that the server's own errors do not have.
pub(crate) type Answered<T> = Result<Result<T, ReadSideError>, Error>;

impl PostgresReadSide {
    /// Runs one statement.
    pub(crate) async fn ask(
        &self,
        doing: &'static str,
        statement: impl Fn() -> Sql + Send + Sync,
    ) -> Result<Vec<PgRow>, ReadSideError> {
        let schema = self.schema();
        let rows = self.attempt(doing, async |mut connection| {
            let rows = fetch(&mut connection, schema, statement()).await;
            (connection, rows.map(Ok))
        });
        rows.await
    }

    /// Runs statements that are one transaction, or none.
    pub(crate) async fn attempt<T, F, Asking>(
        &self,
        doing: &'static str,
        statements: F,
    ) -> Result<T, ReadSideError>
    where
        F: Fn(Lent) -> Asking,
        Asking: Future<Output = (Lent, Answered<T>)>,
    {
        let mut meetings = 0;
        loop {
            match self.shared.connections.read(&statements).await {
                Ok(answered) => return answered,
                Err(error) if is_meeting(&error) && meetings < MEETINGS_MAX => meetings += 1,
                Err(error) => return Err(read_side_error(doing, error)),
            }
        }
    }
}

pub(crate) async fn fetch(
    connection: &mut PgConnection,
    schema: &SchemaName,
    statement: Sql,
) -> Result<Vec<PgRow>, Error> {
    let (text, arguments) = statement.finish(schema)?;
    query_with(text, arguments).fetch_all(connection).await
}

/// Whether a transaction was ended because of others, and may succeed at once.
pub(crate) fn is_meeting(error: &Error) -> bool {
    sqlstate(error).is_some_and(is_code_of_meeting)
}

pub(crate) fn is_code_of_meeting(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03")
}

pub(crate) fn read_side_error(doing: &'static str, error: Error) -> ReadSideError {
    match read_error(doing, error) {
        ReadError::Closed => ReadSideError::Closed,
        ReadError::Corrupt(fault) => ReadSideError::Corrupt(fault),
        ReadError::Invalid(invalid) => ReadSideError::Invalid(invalid),
        ReadError::Unavailable(fault) => ReadSideError::Unavailable(fault),
        ReadError::Unsupported(what) => ReadSideError::Unsupported(what),
        other => ReadSideError::Unavailable(Fault::because(doing, other)),
    }
}

/// A text for people, which PostgreSQL keeps without NUL.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
