//! What must be so before the first call: the server, its encoding, the tables, the sequence.

use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use crate::fault::OpenError;
use crate::keys::Keys;
use crate::schema::SchemaName;

/// 15.0, as `server_version_num` counts.
const VERSION_MIN: i32 = 150_000;
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
        // The sequence as a table: what else tells where it is keeps silent without the right.
        "SELECT (SELECT coalesce(max(e.position), 0) FROM {schema}.events e),
                (SELECT CASE WHEN p.is_called THEN p.last_value ELSE 0 END FROM {schema}.positions p)",
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

/// Goes on well above every position that was ever given out, when the log finds itself elsewhere
/// than before: it was restored, or a standby has taken over (S5).
///
/// Who may not append needs not, and may not, see to it.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), Error> {
    let select = "SELECT has_function_privilege('{schema}.settle(bigint)', 'execute')";
    let may: bool = query_scalar(schema.statement(select)).fetch_one(&mut *connection).await?;
    if !may {
        return Ok(());
    }
    let advance: i64 = query_scalar(schema.statement("SELECT {schema}.settle($1)"))
        .bind(Keys::of_log(schema))
        .fetch_one(connection)
        .await?;
    if advance > 0 {
        tracing::warn!(
            advance,
            "the log was restored, or another server has taken over: its positions go on well \
             above all that were given out"
        );
    }
    Ok(())
}
