//! What an audit of subscriptions found.

use serde::Serialize;

use super::comparison::{Count, Verdict};
use super::judge::Judged;
use crate::failure::Failure;
use crate::output::{Output, Style, grouped, shown};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) store: String,
    /// The positions between which the audit was: after the first, up to the second.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) seconds: f64,
    pub(super) load: Option<LoadReport>,
    #[serde(flatten)]
    pub(super) judged: Judged,
}

#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) writers: u32,
    pub(super) acknowledged: u64,
    /// Acknowledged, and not in the log.
    pub(super) lost: u64,
}

impl Report {
    pub(super) fn is_clean(&self) -> bool {
        self.judged.is_clean() && self.load.as_ref().is_none_or(|load| load.lost == 0)
    }

    pub(super) fn tell(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json() {
            return output.json(self);
        }
        let judged = &self.judged;
        let (store, events) = (shown(&self.store), grouped(judged.events));
        output.line(&format!(
            "{store} after position {} up to {}, {:.1} s",
            self.from, self.to, self.seconds
        ))?;
        let log = format!(
            "{events} events in {} streams; {}, {}",
            grouped(judged.streams as u64),
            counted(judged.version_gaps, "gaps in versions"),
            counted(judged.positions_back, "positions that do not rise")
        );
        row(output, judged.version_gaps.is_zero() && judged.positions_back.is_zero(), "log", &log)?;
        if let Some(load) = &self.load {
            let what = format!(
                "{} writers, {} events acknowledged, {} of them lost",
                load.writers,
                grouped(load.acknowledged),
                grouped(load.lost)
            );
            row(output, load.lost == 0, "load", &what)?;
        }
        for subscription in &judged.subscriptions {
            let name = match &subscription.category {
                Some(category) => format!("category {}", shown(category.as_str())),
                None => "whole log".to_owned(),
            };
            let failure = subscription.failure.as_ref().map(|why| format!("; {}", shown(why)));
            let what = format!("{}{}", found(&subscription.verdict), failure.unwrap_or_default());
            row(output, subscription.is_clean(), &name, &what)?;
        }
        if let Some(naive) = judged.naive_poller.as_ref().filter(|_| judged.events > 0) {
            let what = format!(
                "for comparison: a naive poller (WHERE position > last) would have missed {} of {}",
                grouped(naive.missed.count),
                grouped(naive.missed.count + naive.seen)
            );
            output.line(&what)?;
        }
        Ok(())
    }
}

fn found(verdict: &Verdict) -> String {
    format!(
        "{} seen once and in order; {}, {}, {}, {}",
        grouped(verdict.seen),
        counted(verdict.missed, "missed"),
        counted(verdict.twice, "twice"),
        counted(verdict.out_of_order, "out of order"),
        counted(verdict.not_in_log, "not in the log")
    )
}

fn counted(count: Count, what: &str) -> String {
    match count.first {
        Some(first) => format!("{} {what} (the first at position {first})", grouped(count.count)),
        None => format!("0 {what}"),
    }
}

fn row(output: &mut Output, is_clean: bool, name: &str, what: &str) -> Result<(), Failure> {
    let verdict = if is_clean {
        output.styled(Style::Dim, "ok   ")
    } else {
        output.styled(Style::Red, "wrong")
    };
    output.line(&format!("{verdict}  {name}: {what}"))
}
