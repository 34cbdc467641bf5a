//! placeholder
use crate::{args, failure::Failure, output::Output};
pub(crate) async fn run(_args: args::Demo, _output: Output) -> Result<(), Failure> {
    Ok(())
}
