//! `annals stats`: the totals.

use crate::args;
use crate::failure::Failure;
use crate::output::{Output, grouped};

pub(crate) async fn run(args: args::Stats, mut output: Output) -> Result<(), Failure> {
    let opened = args.store.location.open_existing().await?;
    let stats = opened.store().stats().await?;
    if output.is_json() {
        output.json(&stats)?;
    } else {
        output.line(&format!("events   {}", grouped(stats.events)))?;
        output.line(&format!("streams  {}", grouped(stats.streams)))?;
        output.line(&format!("head     {}", stats.head))?;
    }
    output.flush()?;
    opened.close().await;
    Ok(())
}
