//! A running server, and the small shell that stops it when this process is gone.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::account::Account;
use crate::process;

const SCRIPT: &str = include_str!("keeper.sh");

/// Generous: a test must not fail because the machine is busy.
const DEADLINE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// How much of the log an error shows.
const LOG_SHOWN_MAX: usize = 4000;

/// A server that runs. Dropped, it stops, but nobody waits for that.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    server: Pid,
    paused: bool,
}

impl Keeper {
    /// Runs `command` in `folder`, which has the server's files in `data` and gets its `log`, and
    /// waits until it accepts connections.
    pub(crate) fn start(account: Account, folder: &Path, command: &Command) -> Result<Self, Error> {
        let log = Log::at_its_end(folder);
        let mut keeper = Self::spawn(account, folder, command)?;
        let deadline = Instant::now() + DEADLINE;
        while !accepts(folder, keeper.server) {
            if !keeper.runs() {
                return Err(Error::Program { program: "postgres", says: log.rest() });
            }
            if Instant::now() > deadline {
                keeper.stop(Signal::QUIT)?;
                return Err(Error::Program { program: "postgres", says: log.rest() });
            }
            thread::park_timeout(BETWEEN_LOOKS);
        }
        Ok(keeper)
    }

    fn spawn(account: Account, folder: &Path, command: &Command) -> Result<Self, Error> {
        let mut shell = account.command("sh", folder);
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder);
        shell.arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: what ends the tests' group must leave somebody to clean up.
        shell.process_group(0);
        let mut shell = shell.spawn().map_err(Error::system("starting sh"))?;
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(Error::system("reading from sh"))?;
        }
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let Some(server) = server else {
            return Err(Error::Program { program: "sh", says: line });
        };
        Ok(Self { shell, server, paused: false })
    }

    /// Whether the server still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    #[cfg(feature = "databases")]
    pub(crate) fn paused(&self) -> bool {
        self.paused
    }

    /// Sends the signal that ends the server, and waits for its end.
    pub(crate) fn stop(&mut self, signal: Signal) -> Result<(), Error> {
        if self.paused {
            self.resume()?;
        }
        let deadline = Instant::now() + DEADLINE;
        // The number is the server's for as long as the shell, its parent, has not seen its end.
        if self.runs() {
            send(self.server, signal)?;
        }
        while self.runs() {
            if Instant::now() > deadline {
                send(self.server, Signal::KILL)?;
            }
            thread::park_timeout(BETWEEN_LOOKS);
        }
        Ok(())
    }

    /// Stops all processes of the server where they are; returns when they stand still.
    pub(crate) fn pause(&mut self) -> Result<(), Error> {
        self.paused = true;
        let deadline = Instant::now() + DEADLINE;
        let mut stopped = Vec::new();
        loop {
            let family = process::family(self.server)?;
            let died = family.first().is_none_or(|first| first.id != self.server);
            if died || Instant::now() > deadline {
                // Those that it left must see that it is gone, and end.
                stopped.into_iter().try_for_each(|process| send(process, Signal::CONT))?;
                self.paused = false;
                let state = if died { "gone" } else { "too busy to stand still" };
                return Err(Error::State { state, instead: "look at its log" });
            }
            let moving: Vec<_> = family.iter().filter(|process| !process.still).collect();
            if moving.is_empty() {
                return Ok(());
            }
            // The server comes first: it cannot make new ones then.
            for process in moving {
                send(process.id, Signal::STOP)?;
                stopped.push(process.id);
            }
            thread::park_timeout(BETWEEN_LOOKS);
        }
    }

    /// Lets all processes of the server go on.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        for process in process::family(self.server)? {
            send(process.id, Signal::CONT)?;
        }
        self.paused = false;
        Ok(())
    }
}

/// A process that is gone needs no signal.
fn send(process: Pid, signal: Signal) -> Result<(), Error> {
    match kill_process(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::System {
            what: format!("signalling process {process}", process = process.as_raw_nonzero()),
            source: error.into(),
        }),
    }
}

/// Whether the server says so in the file where `pg_ctl` looks too.
fn accepts(folder: &Path, server: Pid) -> bool {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let id = server.as_raw_nonzero().to_string();
    lines.first() == Some(&&*id) && matches!(lines.get(7), Some(&("ready" | "standby")))
}

/// What the server logs from a moment on.
struct Log {
    path: PathBuf,
    start: u64,
}

impl Log {
    fn at_its_end(folder: &Path) -> Self {
        let path = folder.join("log");
        let start = fs::metadata(&path).map_or(0, |log| log.len());
        Self { path, start }
    }

    fn rest(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut log) = File::open(&self.path)
            && log.seek(SeekFrom::Start(self.start)).is_ok()
        {
            // What could be read is worth showing.
            let _ = log.read_to_end(&mut bytes);
        }
        let shown = bytes.len().saturating_sub(LOG_SHOWN_MAX);
        String::from_utf8_lossy(&bytes[shown..]).into_owned()
    }
}
