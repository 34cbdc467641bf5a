//! Following a rebuild until it is done.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use annals::{GenerationProgress, ProjectionStatus, Projections};
use annals_core::{Clock, GenerationInfo, SubscriberName, SystemClock};
use annals_server::projection_of;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::output::{Output, grouped, note, shown};
use crate::signal;

/// How often it is looked at, and how often a line is written where no terminal is.
const EVERY: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// After how long it is told that nobody works it.
const PATIENCE: Duration = Duration::from_secs(5);

const BAR_CELLS: usize = 30;

/// Follows the rebuild of a projection until it is done, or given up, or does not go on.
pub(super) async fn rebuild(
    projections: &Projections,
    name: &SubscriberName,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut status = projections.status(name).await?;
    let Some(watched) = status.info.building().map(|building| building.generation) else {
        note(&format!("no rebuild of {name} is under way"));
        return finish(&status, output);
    };
    let begun = Instant::now();
    let mut shown_at = None;
    let mut has_warned = false;
    let mut stop = std::pin::pin!(signal::stop());
    while let Some(building) = status.info.building().filter(|one| one.generation == watched) {
        if let Some(failure) = building.partitions.iter().find_map(|part| part.failure.as_ref()) {
            clear();
            return Err(Failure::new(format!(
                "the rebuild of {name} has stopped: {}; mend it, then `annals projections resume \
                 {name}`, or `annals projections cancel {name}`",
                shown(&failure.error)
            )));
        }
        if !has_warned && begun.elapsed() >= PATIENCE && is_idle(building) {
            has_warned = true;
            clear();
            note(&format!(
                "nobody works generation {watched} of {name}: start an application that runs \
                 version {} of {name}, and see that it is not paused; or give it up with `annals \
                 projections cancel {name}`",
                building.version
            ));
        }
        if let Some(progress) = &status.rebuild {
            show(&line(progress), &mut shown_at);
        }
        tokio::select! {
            () = sleep(EVERY[0]) => {}
            () = &mut stop => {
                clear();
                note("not followed any more; the rebuild goes on without");
                return Ok(());
            }
        }
        status = projections.status(name).await?;
    }
    clear();
    let is_read = status.info.active().is_some_and(|active| active.generation == watched);
    if !is_read {
        return Err(Failure::new(format!("generation {watched} of {name} was given up")));
    }
    note(&format!("generation {watched} of {name} has caught up, and is what is read now"));
    finish(&status, output)
}

fn finish(status: &ProjectionStatus, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(&projection_of(status))?;
    }
    Ok(())
}

/// Whether nobody is certain to work any of its parts.
fn is_idle(building: &GenerationInfo) -> bool {
    let now = SystemClock.now();
    building
        .partitions
        .iter()
        .all(|part| part.owner.as_ref().is_none_or(|(_, until)| *until <= now))
}

/// How far it is, with rate and remaining time.
pub(super) fn line(progress: &GenerationProgress) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share from 0 to 1 of a few cells"
    )]
    let cells = ((progress.done * BAR_CELLS as f64) as usize).min(BAR_CELLS);
    let bar = format!("{}{}", "#".repeat(cells), "-".repeat(BAR_CELLS - cells));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people, never negative"
    )]
    let rate = grouped(progress.events_per_second as u64);
    let rest = match progress.remaining {
        Some(rest) => format!("about {} left", time(rest)),
        None => "time left unknown yet".to_owned(),
    };
    format!("[{bar}] {:5.1} % of the log  {rate} events/s  {rest}", progress.done * 100.0)
}

fn time(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// On a terminal the line is written anew, elsewhere now and then another one.
fn show(line: &str, shown_at: &mut Option<Instant>) {
    if io::stderr().is_terminal() {
        // Nobody may be looking any more, which is no reason to stop.
        let _ = write!(io::stderr(), "\r\u{1b}[2K{line}");
        let _ = io::stderr().flush();
    } else if shown_at.is_none_or(|at| at.elapsed() >= EVERY[1]) {
        *shown_at = Some(Instant::now());
        note(line);
    }
}

fn clear() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\u{1b}[2K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_for_people() {
        let texts = [0, 59, 61, 7_260].map(|seconds| time(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "59 s", "1 min 1 s", "2 h 1 min"]);
    }
}
