//! What else happens in the transaction of an event.

use rusqlite::Transaction;

use crate::change::Refusal;
use crate::parameters::FieldError;
use crate::user::UserEvent::{UserCreated, UserDestroyed};
use crate::user::{Happened, domain};
use crate::users::Failure;

/// Called with the transaction, after the row was written and before the event is. What it
/// writes is committed with them; its error rolls everything back.
pub type Reactor = fn(&Transaction<'_>, &Happened) -> Result<(), Failure>;

/// All reactors, in the order they are called.
pub const REACTORS: &[Reactor] = &[refuse_blocked_domains, count_users];

/// Vetoes users of domains that are blocked.
///
/// # Errors
/// The veto, or the database's failure.
pub fn refuse_blocked_domains(
    transaction: &Transaction<'_>,
    happened: &Happened,
) -> Result<(), Failure> {
    const IS_BLOCKED: &str = "SELECT 1 FROM blocked_domains WHERE domain = ?1";
    let UserCreated { email, .. } = &happened.event else { return Ok(()) };
    let domain = domain(email);
    if transaction.prepare_cached(IS_BLOCKED)?.exists([&domain])? {
        return Err(Refusal::Vetoed(FieldError::blocked_domain(&domain)).into());
    }
    Ok(())
}

/// Keeps the numbers of users.
///
/// # Errors
/// The database's failure.
pub fn count_users(transaction: &Transaction<'_>, happened: &Happened) -> Result<(), Failure> {
    const COUNT: &str = "UPDATE user_counts SET present = present + ?1, deleted = deleted + ?2";
    let change = match happened.event {
        UserCreated { .. } => (1, 0),
        UserDestroyed { .. } => (-1, 1),
    };
    transaction.prepare_cached(COUNT)?.execute(change)?;
    Ok(())
}
