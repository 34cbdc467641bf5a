//! The course of a run: a cluster, a load, the faults, and the comparison at the end.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::Args;
use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::ledger::Counts;
use crate::load::Load;
use crate::log::Log;
use crate::{proxy, verify};

/// What a fault did to those who append.
struct Effect {
    title: &'static str,
    gap: Duration,
    counts: Counts,
}

/// Whether every promise was kept.
pub(crate) async fn run(args: &Args, log: Log, cluster: &mut Cluster) -> Result<bool> {
    write_log_of_stores(cluster)?;
    cluster.start().await?;
    let proxy = proxy::start(&cluster.nodes, log).await?;
    log.say(format!("proxy at {proxy}"));
    let load = Load::start(proxy, log).await?;
    load.goes_on().await?;
    sleep(Duration::from_secs(args.seconds)).await;
    log.say(format!("before the first fault: {}", load.ledger.counts()));
    let mut effects = Vec::new();
    for round in 1..=args.rounds {
        for fault in &args.faults {
            log.say(format!("== round {round}: {}", fault.title()));
            effects.push(suffer(*fault, args, log, cluster, &load).await?);
        }
    }
    log.say("== the end: writers finish, subscribers catch up");
    let (ledger, store) = (load.ledger.clone(), load.store.clone());
    let harvest = load.finish().await?;
    let closed = ledger.close();
    let counts = closed.counts;
    let mut kept = verify::verify(cluster, &store, closed, &harvest, log).await?;
    if counts.indeterminate == 0 && args.faults.iter().any(|fault| fault.takes_the_leader()) {
        log.say("no outcome was unknown to anybody, so nothing is known about repeating: NO");
        kept = false;
    }
    report(&effects, counts, log);
    log.say(if kept { "verdict: every promise was kept" } else { "verdict: BROKEN" });
    Ok(kept)
}

async fn suffer(
    fault: Fault,
    args: &Args,
    log: Log,
    cluster: &mut Cluster,
    load: &Load,
) -> Result<Effect> {
    let before = load.ledger.counts();
    load.ledger.begin_window();
    fault.happen(cluster, load, log).await?;
    sleep(Duration::from_secs(args.seconds)).await;
    let effect = Effect {
        title: fault.title(),
        gap: load.ledger.longest_gap(),
        counts: load.ledger.counts() - before,
    };
    log.say(format!("no append acknowledged for {:.1} s", effect.gap.as_secs_f64()));
    log.say(effect.counts);
    Ok(effect)
}

fn report(effects: &[Effect], counts: Counts, log: Log) {
    log.say(counts);
    println!(
        "\n| fault | no write for (s) | appends | acknowledged | unavailable | indeterminate | of \
         them stored at first |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Effect { title, gap, counts } in effects {
        let Counts { begun, acknowledged, unavailable, indeterminate, had_been_stored, .. } =
            counts;
        let gap = gap.as_secs_f64();
        println!(
            "| {title} | {gap:.1} | {begun} | {acknowledged} | {unavailable} | {indeterminate} \
             | {had_been_stored} |"
        );
    }
    println!();
}

/// What the stores warn of goes to the logs of the others.
fn write_log_of_stores(cluster: &Cluster) -> Result<()> {
    let file = std::fs::File::create(cluster.folder.join("stores.log"))?;
    tracing_subscriber::fmt().with_writer(file).with_ansi(false).init();
    Ok(())
}
