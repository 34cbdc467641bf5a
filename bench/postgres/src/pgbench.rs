//! PostgreSQL's own load generator, with a bare INSERT of one row: what the server can do at best
//! when nobody groups.

use std::io::ErrorKind;

use annals_scratch::Database;
use sqlx_core::executor::Executor;
use tokio::process::Command;

use crate::drive::Span;
use crate::fact::{STREAMS, data};
use crate::naive::TABLE;
use crate::server::{Server, connect};

/// Versions are random: nobody looks for the last one, and two rarely meet.
const INSERT: &str = r"\set stream random(1, :streams)
\set version random(1, 4000000000000000000)
INSERT INTO raw (stream, version, type, recorded_at, event_id, data) VALUES ('account-' || lpad(:stream::text, 6, '0'), :version, 'MoneyDeposited', now(), gen_random_uuid(), :data::bytea);
";

/// Rows a second; nothing when pgbench is not installed.
pub async fn rate(server: &Server, database: &Database, clients: u64, span: Span) -> Option<f64> {
    connect(database.url()).await.execute(TABLE).await.expect("the table is made");
    let script = tempfile(INSERT);
    // It has no warm-up; its clients prepare their statement in the first transaction.
    let seconds = span.time.as_secs_f64().ceil().max(1.0);
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--host=127.0.0.1", "--username=postgres"])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--client={clients}"))
        .arg(format!("--jobs={}", clients.min(2)))
        .arg(format!("--time={seconds}"))
        .arg(format!("--define=streams={STREAMS}"))
        .arg(format!("--define=data={}", hex(&data(1, 1, 1))))
        .arg("--file")
        .arg(script.path())
        .arg(database.name())
        .output()
        .await;
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.expect("pgbench runs"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Some(number.unwrap_or_else(|| {
        panic!("pgbench names no rate: {text}{}", String::from_utf8_lossy(&output.stderr))
    }))
}

/// As `bytea` reads it.
fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("\\x{}", digits.collect::<String>())
}

fn tempfile(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("the script is written");
    file
}
