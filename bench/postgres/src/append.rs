//! Appends of one event each.

use annals_bench_report::{Line, Report};
use annals_core::{EventStore, ExpectedVersion};

use crate::Args;
use crate::drive::{Span, drive};
use crate::fact::Fact;
use crate::grouped::Grouped;
use crate::naive::Naive;
use crate::pgbench;
use crate::server::{Server, open};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Pgbench,
    Grouped,
    GroupedTagged,
    Naive,
    Annals,
    AnnalsExact,
    AnnalsTagged,
}

const EVERYBODY: [Who; 7] = [
    Who::Pgbench,
    Who::Annals,
    Who::Grouped,
    Who::AnnalsExact,
    Who::Naive,
    Who::GroupedTagged,
    Who::AnnalsTagged,
];

pub async fn measure(server: &Server, args: &Args, report: &mut Report) {
    for &callers in &args.callers {
        let pgbench_target = if callers == 1 { 0.75 } else { 1.0 };
        let (grouped_target, naive_target) = match callers {
            64 => (Some(0.6), Some(3.0)),
            _ => (None, None),
        };
        let pairs = [
            ("pgbench's INSERT", Who::Pgbench, Who::Annals, Some(pgbench_target)),
            ("a grouped INSERT", Who::Grouped, Who::Annals, grouped_target),
            ("a transaction each", Who::Naive, Who::Annals, naive_target),
            ("exact versions, a grouped INSERT", Who::Grouped, Who::AnnalsExact, None),
            ("two tags, a grouped INSERT", Who::GroupedTagged, Who::AnnalsTagged, None),
        ];
        let mut lines = pairs.map(|(beside, _, _, target)| {
            let name = format!("append, {callers} callers: {beside}");
            Line::new(name, "events/s").target(target)
        });
        for round in 0..args.rounds {
            let rates = round_of(server, callers, args.span(), round).await;
            let rate = |who| rates.iter().find(|(other, _)| *other == who).map(|(_, rate)| *rate);
            for (line, (_, beside, annals, _)) in lines.iter_mut().zip(pairs) {
                if let (Some(beside), Some(annals)) = (rate(beside), rate(annals)) {
                    line.add(beside, annals);
                }
            }
        }
        lines.into_iter().for_each(|line| report.add(line));
    }
}

/// Everybody once, beginning with another one in each round.
async fn round_of(server: &Server, callers: u64, span: Span, round: usize) -> Vec<(Who, f64)> {
    let mut rates = Vec::new();
    for place in 0..EVERYBODY.len() {
        let who = EVERYBODY[(place + round) % EVERYBODY.len()];
        match rate(server, who, callers, span).await {
            Some(rate) => {
                eprintln!("  round {}, {callers} callers, {who:?}: {rate:.0}", round + 1);
                rates.push((who, rate));
            }
            None => eprintln!("  {who:?} is not installed; left out"),
        }
    }
    rates
}

async fn rate(server: &Server, who: Who, callers: u64, span: Span) -> Option<f64> {
    let database = server.database().await;
    match who {
        Who::Pgbench => return pgbench::rate(server, &database, callers, span).await,
        Who::Naive => {
            let naive = Naive::open(&database, callers).await;
            let append = move |caller, turn| {
                let naive = naive.clone();
                async move { naive.append(caller, Fact::scattered(caller, turn)).await }
            };
            return Some(drive(callers, span, append).await);
        }
        Who::Grouped | Who::GroupedTagged => {
            let tagged = who == Who::GroupedTagged;
            let grouped = Grouped::open(&database, tagged).await;
            let append = move |caller, turn| {
                let grouped = grouped.clone();
                async move {
                    let fact = Fact::scattered(caller, turn);
                    grouped.append(if tagged { fact.tagged(turn) } else { fact }).await;
                }
            };
            return Some(drive(callers, span, append).await);
        }
        Who::Annals | Who::AnnalsExact | Who::AnnalsTagged => {}
    }
    let store = open(&database).await;
    let appending = store.clone();
    let append = move |caller, turn| {
        let store = appending.clone();
        async move {
            let append = match who {
                Who::AnnalsExact => Fact::own(caller, turn).into_exact(turn),
                Who::AnnalsTagged => {
                    Fact::scattered(caller, turn).tagged(turn).into_append(ExpectedVersion::Any)
                }
                _ => Fact::scattered(caller, turn).into_append(ExpectedVersion::Any),
            };
            store.append(append).await.expect("the append succeeds");
        }
    };
    let rate = drive(callers, span, append).await;
    store.close().await;
    Some(rate)
}
