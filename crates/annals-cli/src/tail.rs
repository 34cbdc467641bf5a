//! `annals tail`: the log as it grows.

use annals_core::{Notice, Position, Subscribe};
use futures_util::TryStreamExt;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;
use crate::signal;

pub(crate) async fn run(args: args::Tail, output: Output) -> Result<(), Failure> {
    let opened = args.store.location.open_existing().await?;
    let store = opened.store();
    let query = args.filter.into_query(args.stream);
    let subscribe = match (args.from_start, args.after) {
        (true, _) => Subscribe::query(query),
        (false, Some(after)) => Subscribe::query(query).after(Position::new(after)),
        (false, None) => Subscribe::query(query).from_head(),
    };
    let followed = follow(store.subscribe(subscribe), output);
    let outcome = tokio::select! {
        outcome = followed => outcome,
        () = signal::stop() => Ok(()),
    };
    opened.close().await;
    outcome
}

async fn follow(
    mut subscription: annals_core::Subscription,
    mut output: Output,
) -> Result<(), Failure> {
    while let Some(notice) = subscription.try_next().await? {
        match notice {
            Notice::Event(event) => output.event(&event)?,
            Notice::CaughtUp(_) => output.flush()?,
        }
    }
    Ok(())
}
