//! Code of the application that runs in a transaction: it must neither end it, nor leave it by a
//! panic, nor pass over an error of the server, after which nothing of a transaction can stay.
//!
//! The server answers `COMMIT` without an error also when it rolls back instead, because a
//! statement has failed, and when there is no transaction at all. So it is asked before.

use std::error::Error as StdError;

use annals_core::Panicked;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use crate::fault::sqlstate;
use crate::read_side::projection::BoxError;
use crate::read_side::projector::of_moment;

/// How the application's code left a transaction that cannot be committed.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(
        "it passed over an error of the server, after which nothing of the transaction can stay; \
         have it return the error, or use ON CONFLICT or a savepoint where one is expected"
    )]
    Failed,
    #[error("it ended the transaction that it ran in; leave that to whoever began it")]
    Ended,
}

/// Awaits code of the application.
pub(crate) async fn caught(
    run: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    Panicked::catch_in(run).await.unwrap_or_else(|panicked| Err(panicked.into()))
}

/// What came of code of the application in a transaction that has written something, once the
/// server has said that it can still be committed. Where the code failed, its error may not show
/// that the session is gone, or that the transaction is.
pub(crate) async fn checked(
    ran: Result<(), BoxError>,
    connection: &mut PgConnection,
) -> Result<(), BoxError> {
    match (ran, unbroken(connection).await) {
        (Ok(()), unbroken) => unbroken,
        (Err(_), Err(broken)) if is_of_ended(&*broken) => Err(broken),
        (Err(error), Err(gone)) => match (of_moment(&*error), of_moment(&*gone)) {
            (None, Some(_)) => Err(gone),
            _ => Err(error),
        },
        (Err(error), Ok(())) => Err(error),
    }
}

/// Whether code of the application has ended the transaction.
pub(crate) fn is_of_ended(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(Broken::Ended))
}

async fn unbroken(connection: &mut PgConnection) -> Result<(), BoxError> {
    let is_open = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
    match query_scalar::<Postgres, bool>(is_open).fetch_one(connection).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Broken::Ended.into()),
        Err(error) if is_of_failed(&error) => Err(Broken::Failed.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a statement was refused because one before it had failed: whatever the error is told
/// of, it is not what is wrong.
pub(crate) fn is_of_failed(error: &(dyn StdError + 'static)) -> bool {
    let is_it = error.downcast_ref().and_then(sqlstate) == Some("25P02");
    is_it || error.source().is_some_and(is_of_failed)
}
