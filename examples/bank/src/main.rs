//! The bank at the command line.

mod arguments;
mod bookkeeper;
mod story;
mod teller;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let out = &mut io::stdout().lock();
    let done = match Arguments::parse().action {
        Some(action) => teller::serve(action, out).await,
        None => story::tell(out).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Writes the failure and its reasons to stderr. If even that fails there is nobody to tell.
fn report(failure: &dyn Error) {
    let mut text = format!("bank: {failure}");
    let mut source = failure.source();
    while let Some(reason) = source {
        text.push_str(&format!("\n  because {reason}"));
        source = reason.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
}
