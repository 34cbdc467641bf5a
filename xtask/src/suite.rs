//! Everything a change must pass, cheapest first, tests last.

use std::io::{self, BufRead, BufReader};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::postgres::{self, Server};
use crate::resolve;

const DENY_VERSION: &str = "0.20.2";

/// Runs the whole suite and stops at the first failure.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    timed("PostgreSQL", postgres::installed)?;
    timed("formatting", || cargo(root, "fmt --all --check"))?;
    timed("lints", || {
        cargo(root, "clippy --workspace --all-targets --all-features --locked -- -D warnings")
    })?;
    timed("documentation", || documentation(root))?;
    timed("dependencies", || dependencies(root))?;
    timed("applications with other SQL crates", || resolve::run(root))?;
    // However this program ends, the server ends with it.
    let server = Server::start()?;
    let mut outcome = timed("examples in the documentation", || {
        counted(root, &server, "test --doc --workspace --all-features --locked")
    })?;
    outcome += timed("tests", || tests(root, &server))?;
    println!("everything took {} s", start.elapsed().as_secs());
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    Ok(())
}

fn timed<T>(name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let start = Instant::now();
    let outcome = step().with_context(|| format!("{name}: failed"))?;
    println!("== {name}: {} s", start.elapsed().as_secs());
    Ok(outcome)
}

fn command(root: &Path, arguments: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments.split_whitespace()).current_dir(root);
    // What speeds up the next build of one change is gigabytes in a build of everything.
    command.env("CARGO_INCREMENTAL", "0");
    command
}

fn cargo(root: &Path, arguments: &str) -> Result<()> {
    succeed(&mut command(root, arguments))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn documentation(root: &Path) -> Result<()> {
    let mut doc = command(root, "doc --workspace --lib --no-deps --all-features --locked");
    succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Whether cargo has a subcommand that does not come with Rust.
fn installed(subcommand: &str) -> bool {
    let mut version = Command::new("cargo");
    version.args([subcommand, "--version"]);
    let status = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn dependencies(root: &Path) -> Result<()> {
    let check = "check bans licenses sources";
    if installed("deny") {
        return cargo(root, &format!("deny {check}"));
    }
    let tools = root.join("target/tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        println!(
            "cargo-deny, which checks licences and sources of dependencies, is not installed; \
             building it into target/tools takes several minutes, this once"
        );
        let install = format!("install cargo-deny --locked --version {DENY_VERSION}");
        succeed(command(root, &install).arg("--root").arg(&tools))?;
    }
    succeed(Command::new(deny).args(check.split_whitespace()).current_dir(root))
}

fn tests(root: &Path, server: &Server) -> Result<Outcome> {
    let what = "--workspace --all-features --locked";
    if installed("nextest") {
        return counted(root, server, &format!("nextest run --profile ci {what}"));
    }
    println!("cargo-nextest is not installed; cargo test does the same, more slowly");
    counted(root, server, &format!("test {what} --lib --bins --tests --examples --no-fail-fast"))
}

/// How many tests passed and failed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: u64,
    failed: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs tests, shows what they print, and adds up the runner's closing lines.
fn counted(root: &Path, server: &Server, arguments: &str) -> Result<Outcome> {
    let (reader, writer) = io::pipe()?;
    let mut command = command(root, arguments);
    command.env(annals_scratch::SHARED_SERVER, server.url());
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // It holds the writing ends: it must be gone before reading can end.
    drop(command);
    let mut outcome = Outcome::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        outcome += outcome_of(&line).unwrap_or_default();
    }
    ensure!(child.wait()?.success(), "cargo {arguments} failed");
    Ok(outcome)
}

/// What a test runner's closing line says; nothing for other lines.
fn outcome_of(line: &str) -> Option<Outcome> {
    let line = line.trim_start();
    let closing = line.starts_with("Summary [") || line.starts_with("test result: ");
    let words: Vec<&str> = line.split([' ', ',', ';']).filter(|w| !w.is_empty()).collect();
    let number_before = |word: &str| {
        let place = words.iter().position(|w| *w == word)?;
        words.get(place.checked_sub(1)?)?.parse().ok()
    };
    closing.then(|| Outcome {
        passed: number_before("passed").unwrap_or_default(),
        failed: number_before("failed").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_understood() {
        let outcome = |passed, failed| Some(Outcome { passed, failed });
        for (line, expected) in [
            (
                "     Summary [   0.020s] 6 tests run: 5 passed (1 slow), 1 failed, 0 skipped",
                outcome(5, 1),
            ),
            ("     Summary [   2.1s] 12 tests run: 12 passed, 0 skipped", outcome(12, 0)),
            (
                "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
                outcome(3, 0),
            ),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", outcome(3, 2)),
            ("the clerk has 3 passed exams", None),
        ] {
            assert_eq!(outcome_of(line), expected, "{line}");
        }
    }
}
