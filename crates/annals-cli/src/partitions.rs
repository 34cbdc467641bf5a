//! `annals partitions`: the tables of a very large log in PostgreSQL.

use annals_postgres::{Partition, PartitionError, PostgresStore};
use serde_json::json;

use crate::args;
use crate::failure::Failure;
use crate::location::{Location, Opened};
use crate::output::{Output, grouped, note, shown};

const MEBIBYTE: u64 = 1024 * 1024;

pub(crate) async fn run(args: args::Partitions, mut output: Output) -> Result<(), Failure> {
    let location = match &args.work {
        None => &args.list.location,
        Some(args::PartitionsWork::Archive(args)) => &args.store.location,
        Some(args::PartitionsWork::Extend(store)) => &store.location,
        Some(args::PartitionsWork::Start(args)) => &args.store.location,
    };
    let opened = open(location).await?;
    let store = opened.postgres().expect("it was opened as one in PostgreSQL");
    let done = match &args.work {
        None => Ok(()),
        Some(args::PartitionsWork::Archive(args)) => {
            store.archive_partition(args.name, args.tablespace.as_deref()).await
        }
        Some(args::PartitionsWork::Extend(_)) => store.extend_partitions().await,
        Some(args::PartitionsWork::Start(args)) => store.partition(args.every).await,
    };
    done.map_err(failed)?;
    // Whatever was done, this is how it is now.
    list(store, &mut output).await?;
    output.flush()?;
    opened.close().await;
    Ok(())
}

async fn open(location: &Location) -> Result<Opened, Failure> {
    if !matches!(location, Location::Postgres(_)) {
        return Err(Failure::invalid(
            "partitions are PostgreSQL's; name the log with --store postgres://…",
        ));
    }
    location.open_existing().await
}

async fn list(store: &PostgresStore, output: &mut Output) -> Result<(), Failure> {
    let partitions = store.partitions().await.map_err(failed)?;
    if partitions.is_empty() {
        note("the log is one table; `annals partitions start` splits it");
    }
    for partition in partitions {
        let Partition { name, after, up_to, events, bytes, is_closed, tablespace, .. } = partition;
        if output.is_json() {
            output.json(&json!({
                "name": name.to_string(),
                "after": after.get(),
                "up_to": up_to.get(),
                "events": events,
                "bytes": bytes,
                "closed": is_closed,
                "tablespace": tablespace,
            }))?;
            continue;
        }
        let name = name.to_string();
        let state = if is_closed { "closed" } else { "open" };
        let (events, size) = (grouped(events), grouped(bytes.div_ceil(MEBIBYTE)));
        let tablespace = shown(&tablespace);
        output.line(&format!(
            "{name:<12}  {state:<6}  about {events:>13} events  {size:>9} MiB  {tablespace}  \
             positions after {after} up to {up_to}"
        ))?;
    }
    Ok(())
}

fn failed(error: PartitionError) -> Failure {
    match error {
        PartitionError::NotFound { .. } | PartitionError::TooLarge { .. } => {
            Failure::invalid(error.to_string())
        }
        error => Failure::because("partitioning", &error),
    }
}
