//! Who is at work on the server: transactions that hold readers back, or that are merely old.

use std::time::Duration;

use annals_core::{Position, ReadError};
use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnection, Postgres};

use super::{DOING, Finding, Severity, literal, span};
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
    let is_behind = mark.head < mark.newest;
    let lag = blockers.first().filter(|_| is_behind).map_or(Duration::ZERO, |first| first.age);
    findings.push(of_watermark(mark.head, mark.newest, lag));
    for blocker in &blockers {
        let prepared = match blocker.pid {
            0 => prepared(connection).await.map_err(|error| read_error(DOING, error))?,
            _ => Vec::new(),
        };
        findings.push(of_blocker(blocker, is_behind, &prepared));
    }
    Ok(())
}

fn of_watermark(head: Position, newest: Position, lag: Duration) -> Finding {
    let what = format!("head {head}, newest {newest}, lag {}", span(lag));
    if lag > APPENDING_MAX {
        let what = format!("{what}: reads of the whole log fail, and subscriptions wait");
        Finding::problem("watermark", what).advise("end the transactions that are named below")
    } else {
        Finding::ok("watermark", what)
    }
}

fn of_blocker(blocker: &Blocker, is_behind: bool, prepared: &[Prepared]) -> Finding {
    let Blocker { pid, age, application, state, query } = blocker;
    let matters = if is_behind { Severity::Problem } else { Severity::Warning };
    if *pid == 0 {
        let names: Vec<_> = prepared.iter().map(|(name, ..)| literal(name)).collect();
        let what = "a prepared transaction has appended and is not ended";
        let names = names.join(", ");
        let advice = format!("it is one of {names}; run: COMMIT PREPARED … or ROLLBACK PREPARED …");
        return Finding::new(matters, "blocker", what).advise(advice);
    }
    // What other users do, and since when, is hidden from a user without rights.
    let is_hidden = query == "<insufficient privilege>";
    let (severity, since, state) = match age {
        _ if is_hidden => (Severity::Warning, "some time".to_owned(), "hidden"),
        age if *age <= APPENDING_MAX => (Severity::Note, span(*age), &**state),
        age => (matters, span(*age), &**state),
    };
    let what = format!(
        "process {pid} has appended in a transaction that is open for {since}; application \
         {application:?}, state {state}, last statement: {query}"
    );
    let end = format!("if it does not end by itself, run: SELECT pg_terminate_backend({pid});");
    Finding::new(severity, &format!("blocker {pid}"), what).advise(end)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_readers_back_for_long_is_a_problem() {
        let of = |seconds, is_behind, pid, query: &str| {
            let (age, query) = (Duration::from_secs(seconds), query.to_owned());
            let (application, state) = ("slow".to_owned(), "active".to_owned());
            let blocker = Blocker { pid, age, application, state, query };
            of_blocker(&blocker, is_behind, &[]).severity
        };
        assert_eq!(of(1, true, 7, "SELECT 1"), Severity::Note);
        assert_eq!(of(11, false, 7, "SELECT 1"), Severity::Warning);
        assert_eq!(of(11, true, 7, "SELECT 1"), Severity::Problem);
        assert_eq!(of(0, false, 0, ""), Severity::Warning);
        assert_eq!(of(0, true, 0, ""), Severity::Problem);
        assert_eq!(of(0, true, 7, "<insufficient privilege>"), Severity::Warning);

        let mark = |lag| of_watermark(Position::new(1), Position::new(2), Duration::from_secs(lag));
        assert_eq!(mark(10).severity, Severity::Ok);
        assert_eq!(mark(11).severity, Severity::Problem);
    }
}
