//! `annals doctor`: how a store is, and what to change.

use std::path::{Path, PathBuf};

use annals_core::StreamCatalog;
use annals_postgres::{Finding, OpenError, Severity, diagnose};
use annals_sqlite::{Check, SqliteStore};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::location::{Address, Location};
use crate::output::{Output, Style, grouped, shown};

/// SQLite folds the write-ahead log into the file long before it is this large, unless somebody
/// reads for as long.
const WAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(crate) async fn run(args: args::Doctor, mut output: Output) -> Result<(), Failure> {
    let location = &args.store.location;
    let findings = match location {
        Location::Memory => {
            return Err(Failure::invalid("a log in memory needs no doctor; name another --store"));
        }
        Location::Postgres(address) => of_database(address).await?,
        Location::Sqlite(path) => {
            location.check_exists()?;
            of_file(path).await?
        }
    };
    tell(&findings, &mut output)?;
    output.flush()?;
    match findings.iter().filter(|finding| finding.severity == Severity::Problem).count() {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{location} has a problem"))),
        problems => Err(Failure::new(format!("{location} has {problems} problems"))),
    }
}

async fn of_database(address: &Address) -> Result<Vec<Finding>, Failure> {
    let reached = async {
        let pool = address.pool()?;
        drop(pool.acquire().await.map_err(OpenError::Connect)?);
        Ok(pool)
    };
    let pool = match reached.await {
        Ok(pool) => pool,
        Err(error) => {
            return Err(address.failed(format_args!("examining {address}"), &error).await);
        }
    };
    let findings = diagnose(&pool, address.schema()).await?;
    pool.close().await;
    Ok(findings)
}

/// All that there is to know of a file: whether it is whole, and how large.
async fn of_file(path: &Path) -> Result<Vec<Finding>, Failure> {
    let store = match SqliteStore::options().check(Check::Full).open(path) {
        Ok(store) => store,
        Err(error) => {
            let what = annals_core::error::Chain(&error).to_string();
            return Ok(vec![Finding::new(Severity::Problem, "file", what)]);
        }
    };
    let stats = store.stats().await?;
    let whole = "every page, event and index is as it must be";
    let durable = "write-ahead log and synchronous = FULL, which every store sets when it opens";
    let counts = format!(
        "{} events in {} streams, head {}",
        grouped(stats.events),
        grouped(stats.streams),
        stats.head
    );
    let findings = vec![
        Finding::new(Severity::Ok, "file", whole),
        Finding::new(Severity::Ok, "durability", durable),
        Finding::new(Severity::Ok, "log", counts),
        of_sizes(bytes(path), bytes(&wal_of(path))),
    ];
    store.close().await;
    Ok(findings)
}

fn of_sizes(file: u64, wal: u64) -> Finding {
    let mib = |bytes: u64| format!("{} MiB", grouped(bytes.div_ceil(1024 * 1024)));
    let what = format!("file {}, write-ahead log {}", mib(file), mib(wal));
    if wal <= WAL_BYTES_MAX {
        return Finding::new(Severity::Ok, "size", what);
    }
    Finding::new(Severity::Warning, "size", what).advise(
        "somebody has been reading for long, and the write-ahead log cannot be folded into the \
         file; find out which process it is, and end that",
    )
}

/// Where SQLite keeps the write-ahead log of a file.
fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Nothing, when it is not there.
fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A finding as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    severity: String,
    subject: &'a str,
    message: &'a str,
    advice: Option<&'a str>,
}

fn tell(findings: &[Finding], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        for finding in findings {
            output.json(&Line {
                severity: finding.severity.to_string(),
                subject: &finding.subject,
                message: &finding.message,
                advice: finding.advice.as_deref(),
            })?;
        }
        return Ok(());
    }
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let severity = format!("{:<7}", finding.severity.to_string());
        let severity = output.styled(style(finding.severity), &severity);
        let subject = shown(&finding.subject).to_string();
        // Statements of others have lines.
        let message = finding.message.split_whitespace().collect::<Vec<_>>().join(" ");
        output.line(&format!("{severity}  {subject:<width$}  {}", shown(&message)))?;
        for line in finding.advice.iter().flat_map(|advice| advice_lines(advice)) {
            output.line(&format!("{:7}  {:width$}  {}", "", "", shown(&line)))?;
        }
    }
    Ok(())
}

/// What to do, and each statement to paste on a line of its own.
fn advice_lines(advice: &str) -> Vec<String> {
    let Some((advice, statements)) = advice.split_once("run: ") else {
        return vec![advice.to_owned()];
    };
    let statements = statements.split_inclusive(';').map(str::trim);
    let statements = statements.filter(|statement| !statement.is_empty());
    [format!("{advice}run:").as_str()].into_iter().chain(statements).map(str::to_owned).collect()
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Problem => Style::Red,
        Severity::Warning => Style::Yellow,
        Severity::Note => Style::Bold,
        _ => Style::Dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_stand_on_lines_of_their_own() {
        let advice = "find out why; run: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();";
        let lines =
            ["find out why; run:", "ALTER SYSTEM SET fsync = on;", "SELECT pg_reload_conf();"];
        assert_eq!(advice_lines(advice), lines);
        assert_eq!(advice_lines("use a newer build"), ["use a newer build"]);
    }

    #[test]
    fn a_write_ahead_log_that_only_grows_is_told() {
        assert_eq!(of_sizes(1 << 40, 1 << 20).severity, Severity::Ok);
        let large = of_sizes(1 << 20, 1 << 30);
        assert_eq!(large.severity, Severity::Warning);
        assert!(large.message.contains("write-ahead log 1,024 MiB"), "{}", large.message);
    }
}
