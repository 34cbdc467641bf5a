//! A server of its own, for tests that stop, pause or restart it.

#[cfg(feature = "databases")]
pub(crate) mod asynchronous;

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Error;
use crate::keeper::Keeper;

/// What a server runs with unless told otherwise. Commits reach the disk, as they do in earnest.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("autovacuum", "on"),
];
const SUPERUSER: &str = "postgres";
/// How often another port is tried when somebody else was quicker to take it.
const PORTS_TRIED_MAX: usize = 10;
/// How long a server may be kept from starting again by what is left of the last one.
const RESTART_PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

const STOPPED: Error = Error::State { state: "stopped", instead: "start it again first" };

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "PostgreSQL has no other way that ends by itself")]
pub enum Mode {
    /// Transactions are rolled back, connections closed, and everything is written down.
    Fast,
    /// At once, as if the server had crashed: the next start recovers.
    Immediate,
}

/// A PostgreSQL server with its files in a folder of its own, reachable on the loopback only.
///
/// It is stopped and its folder removed when the value is dropped, and also when the process
/// ends, however it ends. (Only the folder of a server that is stopped just then stays behind.)
pub struct Cluster {
    home: Home,
    settings: Vec<(String, String)>,
    port: u16,
    server: Arc<Running>,
}

impl Cluster {
    /// Starts a server with these settings beside the usual ones, and returns when it accepts
    /// connections, which takes a second or two. `postgresql.conf` has the names of the settings.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing or does not start; the message has its log.
    pub fn start_blocking(settings: &[(&str, &str)]) -> Result<Self, Error> {
        let home = Home::new()?;
        let mut initdb = home.command("initdb");
        initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.arg(format!("--username={SUPERUSER}"));
        // Elsewhere the name may be unknown.
        initdb.arg(if cfg!(target_os = "linux") { "--locale=C.UTF-8" } else { "--locale=C" });
        initdb.arg(home.data());
        finish("initdb", &mut initdb)?;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::start_in(home, settings.iter().map(owned).collect())
    }

    fn start_in(home: Home, settings: Vec<(String, String)>) -> Result<Self, Error> {
        let mut tries = 0..PORTS_TRIED_MAX;
        loop {
            let port = free_port()?;
            match home.start(port, &settings) {
                Ok(keeper) => {
                    let server = Arc::new(Running::new(keeper));
                    return Ok(Self { home, settings, port, server });
                }
                Err(error) if port_is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The URL of a database of this server, for its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on the loopback. It stays the same when the server starts again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the server: its files are in `data`, what it logs is in `log`.
    pub fn directory(&self) -> &Path {
        self.home.folder.path()
    }

    /// Stops the server and returns when it has ended; its files stay. A paused server is
    /// resumed first, and one that has stopped already is left alone.
    ///
    /// This and the following block the thread, for as long as the server takes.
    ///
    /// # Errors
    ///
    /// When the operating system does not let us.
    pub fn stop(&self, mode: Mode) -> Result<(), Error> {
        let signal = match mode {
            Mode::Fast => Signal::INT,
            Mode::Immediate => Signal::QUIT,
        };
        match self.server.lock().take() {
            Some(mut keeper) => keeper.stop(signal),
            None => Ok(()),
        }
    }

    /// Starts a server that has stopped or died, with the same files, port and settings.
    ///
    /// # Errors
    ///
    /// When it runs, or does not start; the message has its log.
    pub fn start_again(&self) -> Result<(), Error> {
        let mut server = self.server.lock();
        if server.as_mut().is_some_and(Keeper::runs) {
            return Err(Error::State { state: "running", instead: "stop it first" });
        }
        let deadline = Instant::now() + RESTART_PATIENCE;
        loop {
            match self.home.start(self.port, &self.settings) {
                Ok(keeper) => {
                    *server = Some(keeper);
                    return Ok(());
                }
                Err(error) if is_not_gone(&error) && Instant::now() < deadline => {
                    thread::park_timeout(BETWEEN_TRIES);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes all processes of the server stand still, as a machine does that hangs: connections
    /// stay open, and nobody answers.
    ///
    /// # Errors
    ///
    /// When the server does not run.
    pub fn pause(&self) -> Result<(), Error> {
        self.with_running(Keeper::pause)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// When the server does not run.
    pub fn resume(&self) -> Result<(), Error> {
        self.with_running(Keeper::resume)
    }

    fn with_running(
        &self,
        act: impl FnOnce(&mut Keeper) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut server = self.server.lock();
        let Some(keeper) = server.as_mut() else {
            return Err(STOPPED);
        };
        if !keeper.runs() {
            return Err(STOPPED);
        }
        act(keeper)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("port", &self.port)
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing can be done about an error here, and the keeper tries again by itself.
        let _ = self.stop(Mode::Immediate);
    }
}

/// The server while it runs, shared with what was made in it.
#[derive(Debug)]
pub(crate) struct Running(Mutex<Option<Keeper>>);

impl Running {
    fn new(keeper: Keeper) -> Self {
        Self(Mutex::new(Some(keeper)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody would answer now.
    #[cfg(feature = "databases")]
    pub(crate) fn answers(&self) -> bool {
        self.lock().as_mut().is_some_and(|keeper| !keeper.paused() && keeper.runs())
    }
}

/// The folder of a server, and how its programs are called.
struct Home {
    binaries: Binaries,
    account: Account,
    folder: TempDir,
}

impl Home {
    fn new() -> Result<Self, Error> {
        let (binaries, account) = (Binaries::find()?, Account::find()?);
        let folder = tempfile::Builder::new().prefix("annals-scratch-").tempdir();
        let folder = folder.map_err(Error::system("creating a temporary folder"))?;
        account.own(folder.path())?;
        Ok(Self { binaries, account, folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.account.command(self.binaries.path(program), self.folder.path())
    }

    fn start(&self, port: u16, settings: &[(String, String)]) -> Result<Keeper, Error> {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).arg("-p").arg(port.to_string());
        for (name, value) in SETTINGS {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        // The last one counts.
        for (name, value) in settings {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        Keeper::start(self.account, self.folder.path(), &postgres)
    }
}

/// Runs a program of PostgreSQL to its end.
fn finish(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let output = command.output().map_err(Error::system(format!("running {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Program { program, says })
}

/// A port that nobody has at the moment.
fn free_port() -> Result<u16, Error> {
    let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    Ok(address.map_err(Error::system("finding a free port"))?.port())
}

fn port_is_taken(error: &Error) -> bool {
    matches!(error, Error::Program { says, .. } if says.contains("could not bind"))
}

/// Processes of a server that was killed end a moment after it.
fn is_not_gone(error: &Error) -> bool {
    let of_the_last =
        |says: &str| says.contains("is still in use") || says.contains("Is another postmaster");
    port_is_taken(error) || matches!(error, Error::Program { says, .. } if of_the_last(says))
}
