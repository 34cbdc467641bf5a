//! What an operator should know of a log and the server it is in, and what to do about it.
//!
//! Nothing is changed, and nothing is locked that an append or a read would wait for. What can
//! be seen depends on the user's rights; what cannot be seen is said.

mod sessions;
mod settings;
mod tables;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_core::ReadError;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnection, PgPool, Postgres};

use crate::PostgresStore;
use crate::check::{check_sequence, check_server};
use crate::connections::Connections;
use crate::fault::{OpenError, read_error};
use crate::schema::{self, SchemaName};
use crate::watermark::Watermark;

const DOING: &str = "examining the log and its server";

/// How much a finding matters, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It can do harm some day.
    Warning,
    /// It does harm now, or the next accident will.
    Problem,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// One thing that was looked at, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at: the name of a setting, an index, `watermark` …
    pub subject: String,
    /// How it was found.
    pub message: String,
    /// What to do about it, if anything is to be done. Statements stand at its end.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding without advice.
    #[must_use]
    pub fn new(severity: Severity, subject: &str, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.to_owned(), message.into());
        Self { severity, subject, message, advice: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Ok, subject, message)
    }

    pub(crate) fn note(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, subject, message)
    }

    pub(crate) fn warning(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, subject, message)
    }

    pub(crate) fn problem(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Problem, subject, message)
    }
}

impl PostgresStore {
    /// Examines the log and the server it is in: settings, tables, indexes and triggers, the
    /// sequence, who holds readers back, open transactions, sizes. Findings that are as they
    /// should be are among them, with [`Severity::Ok`].
    ///
    /// Changes nothing. See [`diagnose`] for a log that cannot be opened.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn diagnose(&self) -> Result<Vec<Finding>, ReadError> {
        diagnose(self.pool(), self.schema()).await
    }
}

/// As [`PostgresStore::diagnose`], also where no store can be opened: because tables are missing
/// or too new, or the sequence is behind the log. The pool is taken for that of a store: the
/// server must have room for as many connections as it may have.
///
/// # Errors
/// When the server cannot be asked.
pub async fn diagnose(pool: &PgPool, schema: &SchemaName) -> Result<Vec<Finding>, ReadError> {
    let failed = |error| read_error(DOING, error);
    let mut findings = Vec::new();
    let mut connection = pool.acquire().await.map_err(failed)?;
    let is_standby = server(&mut connection, &mut findings).await.map_err(failed)?;
    let pool_size = pool.options().get_max_connections();
    settings::look(&mut connection, pool_size, &mut findings).await.map_err(failed)?;
    let there = the_schema(&mut connection, schema, &mut findings).await.map_err(failed)?;
    if there {
        tables::look(&mut connection, schema, &mut findings).await.map_err(failed)?;
        if !is_standby {
            sequence(&mut connection, schema, &mut findings).await.map_err(failed)?;
            origin(&mut connection, schema, &mut findings).await.map_err(failed)?;
            let connections = Arc::new(Connections::new(pool.clone()));
            let watermark = Watermark::new(connections, schema.clone(), Duration::ZERO);
            sessions::blockers(&watermark, &mut connection, &mut findings).await?;
        }
    }
    sessions::look(&mut connection, &mut findings).await.map_err(failed)?;
    Ok(findings)
}

/// Whether it is a standby.
async fn server(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<bool, sqlx_core::error::Error> {
    let (version, is_standby) = query_as::<Postgres, (String, bool)>(
        "SELECT current_setting('server_version'), pg_is_in_recovery()",
    )
    .fetch_one(&mut *connection)
    .await?;
    findings.push(match check_server(connection).await {
        Ok(()) => Finding::ok("server", format!("PostgreSQL {version}, encoding UTF8")),
        Err(OpenError::Sql(error)) => return Err(error),
        Err(other) => Finding::problem("server", other.to_string()),
    });
    if is_standby {
        let what = "this server is a standby: nothing can be appended here";
        let advice = "name the primary's address; a standby can serve reads as Options::replica";
        findings.push(Finding::problem("standby", what).advise(advice));
    }
    Ok(is_standby)
}

/// Whether there are tables to look at.
async fn the_schema(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<bool, sqlx_core::error::Error> {
    let (there, is_owner) = query_as::<Postgres, (bool, bool)>(
        "SELECT count(*) > 0, coalesce(bool_or(pg_has_role(c.relowner, 'MEMBER')), false)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = 'events' AND c.relkind IN ('r', 'p')",
    )
    .bind(schema.as_str())
    .fetch_one(&mut *connection)
    .await?;
    let is_usable = match schema::LOG.check(connection, schema).await {
        Ok(()) => {
            findings.push(Finding::ok("schema", format!("{schema} is as this build needs it")));
            true
        }
        Err(OpenError::Sql(error)) => return Err(error),
        Err(OpenError::TooNew { found, known }) => {
            let what = format!("{schema} has version {found}, this build knows {known}");
            findings.push(Finding::problem("schema", what).advise("use a newer build"));
            there
        }
        Err(_) if there => {
            let what = format!("{schema} is older than this build needs");
            let advice = "run `annals migrate`; `--dry-run` shows what it would do";
            findings.push(Finding::problem("schema", what).advise(advice));
            true
        }
        Err(_) => {
            let what = format!("there is no log in the schema {schema} of this database");
            let advice = "look whether database and schema are the ones you meant; `annals \
                          migrate` makes the tables";
            findings.push(Finding::problem("schema", what).advise(advice));
            false
        }
    };
    if is_owner {
        let what = "this user owns the log, and could drop its triggers and tables";
        let advice = "let applications connect as a role that may append and read and nothing \
                      else: `annals migrate --role NAME` prints how";
        findings.push(Finding::note("user", what).advise(advice));
    }
    Ok(is_usable)
}

async fn sequence(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx_core::error::Error> {
    findings.push(match check_sequence(connection, schema).await {
        Ok(()) => Finding::ok("sequence", "ahead of the log"),
        Err(OpenError::Sql(error)) => return Err(error),
        Err(OpenError::SequenceBehind { newest, sequence, given_out, needed }) => {
            let what = format!(
                "the log ends at position {newest}, but {sequence} is at {given_out}: the log was \
                 restored without it, and no store opens here"
            );
            Finding::problem("sequence", what)
                .advise(format!("run: SELECT setval('{sequence}', {needed});"))
        }
        Err(other) => Finding::problem("sequence", other.to_string()),
    });
    Ok(())
}

/// Whether the log has come from elsewhere since a store was last opened that may settle it.
async fn origin(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx_core::error::Error> {
    let select = schema.statement(
        "SELECT count(*) FROM {schema}.origin o WHERE o IS DISTINCT FROM {schema}.here()",
    );
    let (moved,) = query_as::<Postgres, (i64,)>(select).fetch_one(connection).await?;
    findings.push(if moved == 0 {
        Finding::ok("origin", "the log is where it was when it was last appended to")
    } else {
        let what = "the log is not where it was before: it was restored, or another server has \
                    taken over";
        let advice = "nothing need be done: whoever appends next makes positions go on above all \
                      that were ever given out";
        Finding::note("origin", what).advise(advice)
    });
    Ok(())
}

/// A length of time for people: `3.2 s`, `5 min`, `2 h`, `3 days`.
fn span(length: Duration) -> String {
    match length.as_secs() {
        0..120 => format!("{:.1} s", length.as_secs_f64()),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A text as an SQL literal, for statements in advice.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
