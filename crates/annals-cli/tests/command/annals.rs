//! Running the binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing in these tests takes this long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody announces.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// An empty directory to run `annals` in.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.args(arguments).current_dir(self.path());
        for variable in
            ["ANNALS_READ_SIDE", "ANNALS_STORE", "ANNALS_TOKEN", "ANNALS_LOG", "NO_COLOR"]
        {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The command may end without reading everything.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Starts a command that goes on until it is told to stop, and reads the line of JSON that
    /// it begins with.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut running = self.spawn(arguments);
        running.stdout.read_line(&mut running.first_line).unwrap();
        running
    }

    /// The same for a command that says nothing until it ends.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout, first_line: String::new() }
    }

    /// Waits until the log in `annals.db` has more events than this.
    pub(crate) fn wait_for_events(&self, count: u64) {
        let started = Instant::now();
        while self.run(&["stats", "--json"]).ok().json_lines()[0]["events"].as_u64() <= Some(count)
        {
            assert!(started.elapsed() < DEADLINE, "nothing is written");
            thread::park_timeout(POLL);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts that all went well, and silently.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        self
    }

    /// Asserts a failure that says this on stderr and nothing on stdout.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, says: &str) {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{self:?}");
        assert!(self.stderr.contains(says), "{self:?}");
    }

    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A command that goes on; killed when the test is done with it.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) first_line: String,
}

impl Running {
    /// `127.0.0.1:port`, as the first line says it.
    pub(crate) fn address(&self) -> String {
        let started: Value = serde_json::from_str(&self.first_line).unwrap();
        started["address"].as_str().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Kills the process: it has no chance to write anything any more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Reads what it writes to stderr until it says this.
    pub(crate) fn stderr_until(&mut self, says: &str) -> String {
        let mut told = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&told).contains(says) {
            let read = self.child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert_ne!(read, 0, "it ended: {}", String::from_utf8_lossy(&told));
            told.push(byte[0]);
        }
        String::from_utf8(told).unwrap()
    }

    /// Waits until the process has ended by itself; its exit code, and what it wrote to stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < DEADLINE, "the process does not end");
            thread::park_timeout(POLL);
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
