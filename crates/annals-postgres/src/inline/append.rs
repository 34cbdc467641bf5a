//! An append with all that runs in its transaction: one of its own, or the application's.

use std::time::Duration;

use annals_core::{Append, AppendError, Fault, Receipt, SubscriberName};
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::apply::Stop;
use super::{Hooks, refusal};
use crate::PostgresStore;
use crate::append::{Answer, Locks, send};
use crate::connections::no_answer;
use crate::fault::{
    append_error, chain, is_connection_lost, is_deadlock, is_id_taken, is_partition_missing,
    is_unsettled, refused,
};
use crate::keys::Keys;
use crate::repeat::repeated;

const DOING: &str = "appending with what runs in the append's transaction";
/// How soon an append is tried again after a failure; it grows up to the second.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// How often an append is tried again that met others.
const MEETINGS_MAX: usize = 8;

/// How an attempt failed.
enum Failure {
    /// It is refused, and nothing of it is written.
    Refused(AppendError),
    /// The server failed before the commit: nothing is written.
    Server(Error),
    /// What runs in it would not have it, or could not.
    Hook(SubscriberName, Stop),
    /// The commit was not answered.
    Unknown(Error),
}

impl PostgresStore {
    /// An append in a transaction of its own. One whose outcome is unknown is made again with the
    /// same ids, which does no harm: what is stored already is recognised, and nothing runs (S7).
    pub(crate) async fn append_with_hooks(
        &self,
        append: Append,
        _room: OwnedSemaphorePermit,
    ) -> Result<Receipt, AppendError> {
        let keys = Keys::of(self.schema(), &append);
        let deadline = Instant::now() + self.shared().patience;
        let (mut is_unknown, mut is_tested, mut meetings) = (false, false, 0);
        let mut pause = TRY_AGAIN[0];
        loop {
            let failure = match self.attempt(&append, &keys, is_tested).await {
                Ok(receipt) => {
                    self.shared().ahead.reached(receipt.last_position);
                    self.shared().bell.appended();
                    return Ok(receipt);
                }
                Err(failure) => failure,
            };
            let is_late = Instant::now() >= deadline;
            match &failure {
                Failure::Refused(_) | Failure::Hook(_, Stop::Veto(_)) => {}
                Failure::Hook(_, Stop::Moment { at_once, .. }) if !is_late => {
                    meetings += 1;
                    is_tested = !at_once;
                    if *at_once && meetings < MEETINGS_MAX {
                        continue;
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(TRY_AGAIN[1]);
                    continue;
                }
                Failure::Server(error) if !is_late && meetings < MEETINGS_MAX => {
                    meetings += 1;
                    if self.mends(error).await {
                        continue;
                    }
                    if is_connection_lost(error) {
                        is_tested = true;
                        sleep(pause).await;
                        pause = (pause * 2).min(TRY_AGAIN[1]);
                        continue;
                    }
                }
                Failure::Unknown(_) if !is_late => {
                    (is_unknown, is_tested) = (true, true);
                    sleep(pause).await;
                    pause = (pause * 2).min(TRY_AGAIN[1]);
                    continue;
                }
                _ => {}
            }
            return Err(failure.told(is_unknown));
        }
    }

    /// Whether an append may succeed at once that the server has refused, perhaps after something
    /// that is done here.
    async fn mends(&self, error: &Error) -> bool {
        if is_unsettled(error) {
            self.shared().writer.settle().await;
            return true;
        }
        if is_partition_missing(error) {
            return self.shared().ahead.extend().await.is_ok();
        }
        is_deadlock(error) || is_id_taken(error)
    }

    async fn attempt(
        &self,
        append: &Append,
        keys: &Keys,
        is_tested: bool,
    ) -> Result<Receipt, Failure> {
        let connections = &self.shared().source.connections;
        let taken = match is_tested {
            true => connections.take_tested().await,
            false => connections.take().await,
        };
        let mut connection = taken.map_err(Failure::Server)?;
        let limit = connections.limit();
        let written = timeout(limit, self.write(&mut connection, append, keys)).await;
        let written = written.unwrap_or_else(|_| Err(Failure::Server(no_answer(limit))));
        let end = match &written {
            Ok(_) => "COMMIT",
            Err(Failure::Server(_)) => return written,
            Err(_) => "ROLLBACK",
        };
        let ended = timeout(limit, connection.execute(raw_sql(end))).await;
        match ended.unwrap_or_else(|_| Err(no_answer(limit))) {
            Ok(_) => connections.give_back(connection),
            // It is closed.
            Err(error) if written.is_ok() => return Err(of_commit(error)),
            Err(_) => {}
        }
        written
    }

    /// All that an append writes, up to the commit.
    async fn write(
        &self,
        connection: &mut PgConnection,
        append: &Append,
        keys: &Keys,
    ) -> Result<Receipt, Failure> {
        let hooks = &self.shared().hooks;
        connection.execute(raw_sql("BEGIN")).await.map_err(Failure::Server)?;
        let patience = self.shared().patience.as_millis().max(1).to_string();
        query("SELECT set_config('annals.inline', $1, true), set_config('lock_timeout', $2, true)")
            .bind(&hooks.called)
            .bind(patience)
            .execute(&mut *connection)
            .await
            .map_err(Failure::Server)?;
        let sent =
            send(connection, self.schema(), &[append], keys, Locks::Wait, self.moment()).await;
        match sent.map_err(Failure::Server)? {
            Answer::Done(mut outcomes) => {
                let receipt = outcomes.pop().expect("one outcome for one append");
                let receipt = receipt.map_err(Failure::Refused)?;
                let run = hooks.run(connection, append, &receipt).await;
                run.map_err(|(by, stop)| Failure::Hook(by, stop))?;
                Ok(receipt)
            }
            Answer::Busy(_) | Answer::Stored => {
                let repeated = repeated(connection, self.schema(), append).await;
                let repeated = repeated.map_err(Failure::Server)?;
                let repeated = repeated.map_err(|invalid| Failure::Refused(invalid.into()))?;
                Ok(repeated.expect("the server has just found an id of it"))
            }
        }
    }
}

/// A commit that the server refuses, because a deferred constraint does not hold for example, is
/// none.
fn of_commit(error: Error) -> Failure {
    match append_error(DOING, &error) {
        AppendError::Indeterminate(_) => Failure::Unknown(error),
        _ => Failure::Server(error),
    }
}

impl Failure {
    /// What the caller is told; it may be that an attempt before was committed.
    fn told(self, is_unknown: bool) -> AppendError {
        match self {
            Self::Refused(error) => error,
            Self::Hook(by, stop @ Stop::Veto(_)) => refusal((by, stop)),
            Self::Unknown(error) => indeterminate(&error),
            Self::Server(error) if is_unknown => indeterminate(&error),
            Self::Hook(_, Stop::Moment { error, .. }) if is_unknown => {
                AppendError::Indeterminate(Fault::because(DOING, error))
            }
            Self::Server(error) => refused(DOING, &error),
            Self::Hook(by, stop) => refusal((by, stop)),
        }
    }
}

fn indeterminate(error: &Error) -> AppendError {
    AppendError::Indeterminate(Fault::because(DOING, chain(error)))
}

/// A part of the application's transaction that can be taken back.
pub(crate) struct Part<'h> {
    hooks: &'h Hooks,
}

impl<'h> Part<'h> {
    pub(crate) async fn begin(
        hooks: &'h Hooks,
        connection: &mut PgConnection,
    ) -> Result<Self, Error> {
        connection.execute(raw_sql("SAVEPOINT annals_inline")).await?;
        query("SELECT set_config('annals.inline', $1, true)")
            .bind(&hooks.called)
            .execute(connection)
            .await?;
        Ok(Self { hooks })
    }

    /// Runs what runs in appends; takes the append back when that fails.
    pub(crate) async fn run(
        self,
        connection: &mut PgConnection,
        append: &Append,
        receipt: &Receipt,
    ) -> Result<(), AppendError> {
        match self.hooks.run(connection, append, receipt).await {
            Ok(()) => self.keep(connection).await,
            Err(stopped) => {
                let back = "ROLLBACK TO SAVEPOINT annals_inline; RELEASE SAVEPOINT annals_inline";
                // When it fails the whole transaction has.
                let _ = connection.execute(raw_sql(back)).await;
                Err(refusal(stopped))
            }
        }
    }

    /// Nothing runs: it was refused, or written before.
    pub(crate) async fn keep(self, connection: &mut PgConnection) -> Result<(), AppendError> {
        let released = connection.execute(raw_sql("RELEASE SAVEPOINT annals_inline")).await;
        released.map(drop).map_err(|error| refused(DOING, &error))
    }
}
