//! Appends whose event ids are stored already (S7).

use annals_core::repeat::{Stored, recognise};
use annals_core::{Append, EventId, Invalid, Receipt, StreamId};
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use crate::moment::Moment;
use crate::number::{position, stored_position, version};
use crate::row::get;
use crate::schema::SchemaName;

/// The first receipt, when exactly this append is stored; `None` when nothing of it is.
///
/// What is found is as safe as what was just appended, once the transaction is committed.
pub(crate) async fn repeated(
    connection: &mut PgConnection,
    schema: &SchemaName,
    append: &Append,
) -> Result<Result<Option<Receipt>, Invalid>, Error> {
    let ids: Vec<_> =
        append.events().map(|event| uuid::Uuid::from_bytes(*event.id.as_bytes())).collect();
    let select = schema.statement(
        "SELECT e.id, e.position, e.stream, e.version, e.append_index, e.recorded_at
         FROM unnest($1::uuid[]) WITH ORDINALITY AS given(id, place)
         JOIN {schema}.events e ON e.id = given.id ORDER BY given.place",
    );
    let rows = query(select).bind(&ids).fetch_all(&mut *connection).await?;
    let found = rows
        .iter()
        .map(|row| {
            Ok(Stored {
                id: EventId::from_bytes(get::<uuid::Uuid>(row, 0)?.into_bytes()),
                position: position(get(row, 1)?),
                stream: StreamId::from_stored(get::<&str>(row, 2)?),
                version: version(get(row, 3)?),
                append_index: u64::from(get::<i32>(row, 4)?.unsigned_abs()),
                recorded_at: get::<Moment>(row, 5)?.0,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let Some(last) = found.last() else { return Ok(Ok(None)) };
    let follower = schema.statement(
        "SELECT EXISTS (SELECT FROM {schema}.events e WHERE e.position = $1 AND e.append_index > 0)",
    );
    let goes_on: bool = query_scalar(follower)
        .bind(stored_position(last.position) + 1)
        .fetch_one(&mut *connection)
        .await?;
    confirm(connection).await?;
    Ok(recognise(append, &found, goes_on))
}

/// Makes the transaction wait for the standbys that an append waits for.
///
/// A server can hold events that nobody acknowledged and that are lost when another server takes
/// over: after a crash, what no standby had received; as a standby, what it wrote in vain while
/// it still believed to lead. A commit that writes anything waits for all that was written
/// before it, and a standby cannot write.
async fn confirm(connection: &mut PgConnection) -> Result<(), Error> {
    let write = "SELECT set_config('synchronous_commit', coalesce(
                        nullif(current_setting('synchronous_commit'), 'off'), 'on'), true),
                        CASE WHEN pg_is_in_recovery() THEN false
                             ELSE pg_logical_emit_message(true, 'annals', '') IS NOT NULL END";
    let (_, is_primary) = query_as::<Postgres, (String, bool)>(write).fetch_one(connection).await?;
    if is_primary {
        return Ok(());
    }
    Err(Error::Protocol("the server is a standby; what it holds need not be on the primary".into()))
}
