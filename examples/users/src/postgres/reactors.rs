//! What else happens in the transaction of an event.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgConnection;

use crate::change::Refusal;
use crate::parameters::FieldError;
use crate::user::UserEvent::{UserCreated, UserDestroyed};
use crate::user::{Happened, domain};
use crate::users::Failure;

/// Called with the connection, inside the transaction, after the row was written and before the
/// event is. What it writes is committed with them; its error rolls everything back.
pub type Reactor =
    for<'a> fn(&'a mut PgConnection, &'a Happened) -> BoxFuture<'a, Result<(), Failure>>;

/// All reactors, in the order they are called.
pub const REACTORS: &[Reactor] = &[refuse_blocked_domains, count_users];

/// Vetoes users of domains that are blocked.
pub fn refuse_blocked_domains<'a>(
    connection: &'a mut PgConnection,
    happened: &'a Happened,
) -> BoxFuture<'a, Result<(), Failure>> {
    const IS_BLOCKED: &str = "SELECT EXISTS (SELECT FROM public.blocked_domains WHERE domain = $1)";
    async move {
        let UserCreated { email, .. } = &happened.event else { return Ok(()) };
        let domain = domain(email);
        if query_scalar(IS_BLOCKED).bind(&domain).fetch_one(connection).await? {
            return Err(Refusal::Vetoed(FieldError::blocked_domain(&domain)).into());
        }
        Ok(())
    }
    .boxed()
}

/// Keeps the numbers of users. The row is a queue: whoever changes a user waits here for those
/// who do, which is what numbers that are always right cost.
pub fn count_users<'a>(
    connection: &'a mut PgConnection,
    happened: &'a Happened,
) -> BoxFuture<'a, Result<(), Failure>> {
    const COUNT: &str =
        "UPDATE public.user_counts SET present = present + $1, deleted = deleted + $2";
    async move {
        let (present, deleted) = match happened.event {
            UserCreated { .. } => (1_i64, 0_i64),
            UserDestroyed { .. } => (-1, 1),
        };
        query(COUNT).bind(present).bind(deleted).execute(connection).await?;
        Ok(())
    }
    .boxed()
}
