//! How far an audit is, for whoever waits for it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant, interval_at};

use crate::output::{grouped, note};

/// How often the line on a terminal is written anew, and how often a line is written elsewhere.
const EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// What there is to tell of an audit that is under way.
pub(super) struct Progress {
    pub(super) length: Duration,
    /// What the first subscription has delivered.
    pub(super) delivered: Arc<AtomicU64>,
    pub(super) written: Option<Arc<AtomicU64>>,
}

impl Progress {
    /// Tells how far it is, for as long as it is polled.
    pub(super) async fn show(&self) {
        let is_terminal = io::stderr().is_terminal();
        let every = if is_terminal { EVERY[0] } else { EVERY[1] };
        let started = Instant::now();
        let mut ticks = interval_at(started + every, every);
        loop {
            ticks.tick().await;
            let line = self.line(started.elapsed());
            if is_terminal {
                // Nobody may be looking any more, which is no reason to stop.
                let _ = write!(io::stderr(), "\r\u{1b}[2K{line}");
                let _ = io::stderr().flush();
            } else {
                note(&line);
            }
        }
    }

    /// Takes the line from the terminal.
    pub(super) fn clear(&self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\u{1b}[2K");
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let written = self
            .written
            .as_ref()
            .map(|written| format!(", {} written", grouped(written.load(Ordering::Relaxed))));
        format!(
            "{} of {} s: {} events seen{}",
            elapsed.as_secs(),
            self.length.as_secs(),
            grouped(self.delivered.load(Ordering::Relaxed)),
            written.unwrap_or_default()
        )
    }
}
