//! What must be so before the first call: the server, its encoding, the tables, the sequence.

use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use crate::fault::OpenError;
use crate::schema::SchemaName;

/// 15.0, as `server_version_num` counts.
const VERSION_MIN: i32 = 150_000;
/// By how much the sequence is advanced in a cluster the log did not grow in: more groups than
/// were ever appended after the backup was taken, few enough to do it hundreds of times before
/// positions outgrow what JSON numbers carry exactly.
const AFTER_RESTORE: i64 = 1 << 32;
/// The same after a change of timeline in the same cluster: a failover, or a restored backup.
const AFTER_TIMELINE: i64 = 1 << 24;

/// Refuses a server that cannot hold a store.
pub(crate) async fn check_server(connection: &mut PgConnection) -> Result<(), OpenError> {
    let (number, found, encoding, replays) = query_as::<Postgres, (i32, String, String, bool)>(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
                current_setting('server_encoding'), pg_is_in_recovery()",
    )
    .fetch_one(connection)
    .await?;
    if number < VERSION_MIN {
        return Err(OpenError::Version { found });
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { found: encoding });
    }
    if replays {
        return Err(OpenError::Replica);
    }
    Ok(())
}

/// Refuses a log whose sequence would give positions out again (S4, S5).
pub(crate) async fn check_sequence(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), OpenError> {
    let select = schema.statement(
        "SELECT coalesce(max(e.position), 0),
                coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0)
         FROM {schema}.events e",
    );
    let (newest, given_out) =
        query_as::<Postgres, (i64, i64)>(select).fetch_one(connection).await?;
    let needed = newest / 4_096;
    if needed > given_out {
        let sequence = format!("{schema}.positions");
        return Err(OpenError::SequenceBehind { newest, sequence, given_out, needed });
    }
    Ok(())
}

/// Goes on well above every position that was ever given out, when the log finds itself in
/// another cluster than the one it has grown in, or on another timeline of it: it was restored,
/// and whoever followed it may have seen more than there is now (S5).
pub(crate) async fn settle(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), OpenError> {
    let mut transaction = connection.begin().await?;
    // One at a time; the others find it done.
    query(schema.statement("LOCK TABLE {schema}.origin IN EXCLUSIVE MODE"))
        .execute(&mut *transaction)
        .await?;
    let (cluster, timeline) = query_as::<Postgres, (i64, i32)>(
        "SELECT s.system_identifier, c.timeline_id
         FROM pg_control_system() s, pg_control_checkpoint() c",
    )
    .fetch_one(&mut *transaction)
    .await?;
    let origin = query_as::<Postgres, (i64, i32)>(
        schema.statement("SELECT cluster, timeline FROM {schema}.origin"),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let advance = match origin {
        None => 0,
        Some((known, _)) if known != cluster => AFTER_RESTORE,
        Some((_, known)) if known != timeline => AFTER_TIMELINE,
        Some(_) => return Ok(()),
    };
    if advance > 0 {
        tracing::warn!(
            advance,
            "the log is in another cluster or on another timeline than before; its positions go \
             on well above all that were given out"
        );
        let setval = schema.statement(
            "SELECT setval('{schema}.positions'::regclass,
                 coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) + $1)",
        );
        query_scalar::<_, i64>(setval).bind(advance).fetch_one(&mut *transaction).await?;
    }
    query(schema.statement("DELETE FROM {schema}.origin")).execute(&mut *transaction).await?;
    query(schema.statement("INSERT INTO {schema}.origin VALUES ($1, $2)"))
        .bind(cluster)
        .bind(timeline)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
