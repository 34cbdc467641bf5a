//! The processes of a node: those whose working directory is its folder or lies within it.
//!
//! Patroni, what it starts, and PostgreSQL with all its processes stay where they were started,
//! whatever becomes of their parents. Nobody else's process is ever there.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

const DEADLINE: Duration = Duration::from_secs(30);

/// A process, and whether it stands still.
struct Process {
    id: Pid,
    still: bool,
}

/// Kills every process in `folder`, as when a machine loses its power: nobody says goodbye.
pub(crate) async fn kill(folder: &Path) -> Result<usize> {
    let mut killed = 0;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let family = within(folder)?;
        if family.is_empty() {
            return Ok(killed);
        }
        ensure!(Instant::now() < deadline, "processes in {} do not end", folder.display());
        for process in &family {
            send(process.id, Signal::KILL)?;
        }
        killed = killed.max(family.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Makes every process in `folder` stand still, as a machine does that hangs.
pub(crate) async fn pause(folder: &Path) -> Result<usize> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let family = within(folder)?;
        if family.iter().all(|process| process.still) {
            return Ok(family.len());
        }
        ensure!(Instant::now() < deadline, "processes in {} do not stop", folder.display());
        for process in family.iter().filter(|process| !process.still) {
            send(process.id, Signal::STOP)?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets every process in `folder` go on.
pub(crate) fn resume(folder: &Path) -> Result<()> {
    within(folder)?.iter().try_for_each(|process| send(process.id, Signal::CONT))
}

/// A process that is gone needs no signal.
pub(crate) fn send(process: Pid, signal: Signal) -> Result<()> {
    match kill_process(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn within(folder: &Path) -> Result<Vec<Process>> {
    let mut family = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        // A process can end while it is looked at.
        let (Some(id), Ok(place)) = (id, fs::read_link(entry.path().join("cwd"))) else {
            continue;
        };
        if place.starts_with(folder) {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            family.push(Process { id, still: is_still(&stat) });
        }
    }
    Ok(family)
}

/// `12 (name, which may hold anything) S 1 …`: stopped, or ended.
fn is_still(stat: &str) -> bool {
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
    state.is_empty() || state.starts_with(['T', 'Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_behind_the_name() {
        for (stat, still) in [
            ("12 (a) b (c)) S 7 12", false),
            ("12 (postgres) T 7 12", true),
            ("12 (T) R 7 12", false),
            ("12 (sh) Z 7 12", true),
            ("", true),
        ] {
            assert_eq!(is_still(stat), still, "{stat}");
        }
    }
}
