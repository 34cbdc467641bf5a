//! Who is at work on the server: transactions that hold readers back, or that are merely old.

use std::time::Duration;

use annals_core::ReadError;
use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnection, Postgres};

use super::{DOING, Finding, literal, span};
use crate::fault::read_error;
use crate::watermark::{Blocker, Watermark};

/// Appends take milliseconds; a transaction that is open for longer is forgotten or stuck.
const APPENDING_MAX: Duration = Duration::from_secs(10);
/// A transaction that is open for longer keeps dead rows of all tables from being cleaned up.
const OPEN_MAX: Duration = Duration::from_secs(3_600);

/// How far readers are, and who holds them back.
pub(super) async fn blockers(
    watermark: &Watermark,
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), ReadError> {
    let blockers = watermark.blockers().await?;
    let mark = watermark.now().await?;
    let (head, newest) = (mark.head, mark.newest);
    let is_behind = head < newest;
    let lag = blockers.first().filter(|_| is_behind).map_or(Duration::ZERO, |first| first.age);
    let what = format!("head {head}, newest {newest}, lag {}", span(lag));
    findings.push(if is_behind && lag > APPENDING_MAX {
        let what = format!("{what}: reads of the whole log fail, and subscriptions wait");
        Finding::problem("watermark", what).advise("end the transactions that are named below")
    } else {
        Finding::ok("watermark", what)
    });
    for blocker in &blockers {
        let prepared = match blocker.pid {
            0 => prepared(connection).await.map_err(|error| read_error(DOING, error))?,
            _ => Vec::new(),
        };
        findings.push(of_blocker(blocker, is_behind, &prepared));
    }
    Ok(())
}

fn of_blocker(blocker: &Blocker, is_behind: bool, prepared: &[Prepared]) -> Finding {
    let Blocker { pid, age, application, state, query } = blocker;
    // Of sessions of others a user without rights sees neither.
    let is_hidden = *pid != 0 && query == "<insufficient privilege>";
    let state = if is_hidden { "hidden" } else { state };
    let (what, advice) = if *pid == 0 {
        let names: Vec<_> = prepared.iter().map(|(name, ..)| literal(name)).collect();
        let what = "a prepared transaction has appended and is not ended".to_owned();
        (
            what,
            format!(
                "it is one of {}; run: COMMIT PREPARED … or ROLLBACK PREPARED …",
                names.join(", ")
            ),
        )
    } else {
        let what = format!(
            "process {pid} has appended in a transaction that is open for {}; application \
             {application:?}, state {state}, last statement: {query}",
            if is_hidden { "some time".to_owned() } else { span(*age) }
        );
        (what, format!("if it does not end by itself, run: SELECT pg_terminate_backend({pid});"))
    };
    let subject = if *pid == 0 { "blocker".to_owned() } else { format!("blocker {pid}") };
    if *age <= APPENDING_MAX && *pid != 0 && !is_hidden {
        Finding::note(&subject, what).advise(advice)
    } else if is_behind {
        Finding::problem(&subject, what).advise(advice)
    } else {
        Finding::warning(&subject, what).advise(advice)
    }
}

pub(super) async fn look(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    visibility(connection, findings).await?;
    oldest(connection, findings).await?;
    let prepared = prepared(connection).await?;
    if prepared.is_empty() {
        findings.push(Finding::ok("prepared transactions", "none"));
    }
    for (name, micros, database) in prepared {
        let age = Duration::from_micros(micros.max(0).unsigned_abs());
        let what = format!("{name:?} in {database} was prepared {} ago", span(age));
        let name = literal(&name);
        let advice = format!(
            "if its transaction manager has forgotten it, run in that database: COMMIT PREPARED \
             {name}; or ROLLBACK PREPARED {name};"
        );
        findings.push(if age > APPENDING_MAX {
            Finding::warning("prepared transactions", what).advise(advice)
        } else {
            Finding::note("prepared transactions", what).advise(advice)
        });
    }
    Ok(())
}

/// Whether what others do can be seen at all.
async fn visibility(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let (user, sees_all) = query_as::<Postgres, (String, bool)>(
        "SELECT current_user::text, pg_has_role('pg_read_all_stats', 'USAGE')",
    )
    .fetch_one(connection)
    .await?;
    if !sees_all {
        let what = "this user cannot see what sessions of other users do, nor how old their \
                    transactions are";
        let grant = format!("run: GRANT pg_read_all_stats TO \"{}\";", user.replace('"', "\"\""));
        findings.push(Finding::note("visibility", what).advise(grant));
    }
    Ok(())
}

async fn oldest(connection: &mut PgConnection, findings: &mut Vec<Finding>) -> Result<(), Error> {
    type Row = (i32, i64, String, Option<String>, Option<String>, Option<String>);
    let row: Option<Row> = query_as(
        "SELECT pid, (extract(epoch FROM clock_timestamp() - xact_start) * 1000000)::bigint,
                coalesce(datname, '')::text, application_name, state, left(query, 200)
         FROM pg_stat_activity
         WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()
           AND backend_type = 'client backend'
         ORDER BY xact_start LIMIT 1",
    )
    .fetch_optional(connection)
    .await?;
    let Some((pid, micros, database, application, state, query)) = row else {
        findings.push(Finding::ok("oldest transaction", "none is open"));
        return Ok(());
    };
    let age = Duration::from_micros(micros.max(0).unsigned_abs());
    let what = format!(
        "process {pid} in {database} has one open for {}; application {:?}, state {:?}, last \
         statement: {}",
        span(age),
        application.unwrap_or_default(),
        state.unwrap_or_default(),
        query.unwrap_or_default()
    );
    findings.push(if age > OPEN_MAX {
        Finding::warning("oldest transaction", what).advise(format!(
            "dead rows of all tables stay while it is open; if nobody needs it, run: SELECT \
             pg_terminate_backend({pid});"
        ))
    } else {
        Finding::ok("oldest transaction", what)
    });
    Ok(())
}

/// Its name, its age in microseconds, its database.
type Prepared = (String, i64, String);

async fn prepared(connection: &mut PgConnection) -> Result<Vec<Prepared>, Error> {
    query_as(
        "SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000000)::bigint,
                database::text
         FROM pg_prepared_xacts ORDER BY prepared",
    )
    .fetch_all(connection)
    .await
}
