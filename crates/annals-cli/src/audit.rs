//! `annals audit`: guarantees put to the proof on a store that is in use.

mod comparison;
mod follower;
mod judge;
mod load;
mod naive;
mod progress;
mod report;
mod seen;
mod subscriptions;
mod versions;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(args: args::Audit, output: Output) -> Result<(), Failure> {
    match args {
        args::Audit::Subscriptions(args) => subscriptions::run(args, output).await,
    }
}
