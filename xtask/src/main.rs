//! The chores of this repository: `cargo xtask` lists them.
#![expect(clippy::print_stdout, reason = "a chore reports on the terminal")]

mod ha;
mod postgres;
mod resolve;
mod suite;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

  test      everything a change must pass, tests last
  tidy      the repository's own rules
  ha        faults on a PostgreSQL cluster under load; --help lists them
  postgres  a throwaway PostgreSQL for tests that are run one by one
  resolve   applications that use other SQLite or SQL crates beside Annals";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1);
    let root = root();
    let outcome = match chore.as_deref() {
        Some("ha") => ha::run(root, std::env::args().skip(2)),
        Some("postgres") => postgres::run(),
        Some("resolve") => resolve::run(root),
        Some("test") => suite::run(root),
        Some("tidy") => tidy::run(root),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}
