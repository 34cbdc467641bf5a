//! The processes of a server: the first one and those it made.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Pid;

use crate::Error;

/// A process as the operating system lists it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: Pid,
    parent: Option<Pid>,
    /// It is stopped, or has ended and waits to be noticed.
    pub(crate) still: bool,
}

/// A process and its children, the process itself first.
pub(crate) fn family(first: Pid) -> Result<Vec<Process>, Error> {
    let mut family = all()?;
    family.retain(|process| process.id == first || process.parent == Some(first));
    family.sort_by_key(|process| process.id != first);
    Ok(family)
}

fn all() -> Result<Vec<Process>, Error> {
    let listing = Path::new("/proc");
    // Linux has the list as files; `ps` is not in every container.
    if listing.join("self/stat").exists() {
        let entries = fs::read_dir(listing).map_err(Error::system("listing /proc"))?;
        let stats = entries.flatten().map(|entry| entry.path().join("stat"));
        // A process can end while it is looked at.
        return Ok(stats.filter_map(|stat| of_stat(&fs::read_to_string(stat).ok()?)).collect());
    }
    let mut ps = Command::new("ps");
    ps.args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "state="]);
    let output = ps.output().map_err(Error::system("running ps"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(of_ps).collect())
}

/// `12 (name, which may hold anything) S 1 …`
fn of_stat(stat: &str) -> Option<Process> {
    let (id, rest) = stat.split_once(' ')?;
    let mut rest = rest.rsplit_once(')')?.1.split_whitespace();
    let state = rest.next()?;
    process(id, rest.next()?, state)
}

/// `12 1 Ss`
fn of_ps(line: &str) -> Option<Process> {
    let mut words = line.split_whitespace();
    process(words.next()?, words.next()?, words.next()?)
}

fn process(id: &str, parent: &str, state: &str) -> Option<Process> {
    let number = |text: &str| Pid::from_raw(text.parse().ok()?);
    let still = state.starts_with(['T', 'Z', 'X']);
    Some(Process { id: number(id)?, parent: number(parent), still })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_understood() {
        let expected = |still| process("12", "7", if still { "T" } else { "S" });
        assert_eq!(of_stat("12 (a) b (c)) S 7 12 12 0"), expected(false));
        assert_eq!(of_stat("12 (postgres) T 7 12 12 0"), expected(true));
        assert_eq!(of_ps("   12     7 Ss"), expected(false));
        assert_eq!(of_ps("   12     7 T+"), expected(true));
        assert_eq!(of_ps(""), None);
    }
}
