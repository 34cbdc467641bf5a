//! The PostgreSQL that tests run against.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use annals_scratch::{Binaries, Cluster, Error, SHARED_SERVER};
use anyhow::{Context, Result, ensure};

/// Debian's package starts a server of its own unless told otherwise, which is done for the
/// time of the installation only.
const INSTALL: &str = "\
set -e
export DEBIAN_FRONTEND=noninteractive
settings=/etc/postgresql-common/createcluster.d
apt-get update
mkdir -p $settings
trap 'rm -f $settings/annals.conf' EXIT
trap 'exit 1' INT TERM
echo 'create_main_cluster = off' >$settings/annals.conf
apt-get install -y --no-install-recommends postgresql
";

/// Finds PostgreSQL, and installs it where that can be done without asking anybody.
pub(crate) fn installed() -> Result<Binaries> {
    let binaries = match Binaries::find() {
        Ok(binaries) => binaries,
        Err(error @ Error::Missing { .. }) => install(error)?,
        Err(error) => return Err(error.into()),
    };
    println!("PostgreSQL {} is in {}", binaries.version(), binaries.folder().display());
    Ok(binaries)
}

fn install(missing: Error) -> Result<Binaries> {
    let Some(mut shell) = shell_of_root().filter(|_| Path::new("/usr/bin/apt-get").exists()) else {
        return Err(missing.into());
    };
    println!("{missing}");
    println!("installing Debian's package, without the server it would start:\n{INSTALL}");
    let status = shell.args(["-c", INSTALL]).status()?;
    ensure!(status.success(), "installing PostgreSQL failed; {missing}");
    Ok(Binaries::find()?)
}

/// A shell that may install packages.
pub(crate) fn shell_of_root() -> Option<Command> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Command::new("sh"));
    }
    let mut sudo = Command::new("sudo");
    let allowed = sudo.args(["-n", "true"]).stderr(Stdio::null()).status();
    allowed.is_ok_and(|status| status.success()).then(|| {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    })
}

/// The server that the tests of one run share.
pub(crate) struct Server {
    url: String,
    /// Unless somebody else runs it.
    _cluster: Option<Cluster>,
}

impl Server {
    /// Starts one, unless the environment names one already.
    pub(crate) fn start() -> Result<Self> {
        if let Some(url) = std::env::var(SHARED_SERVER).ok().filter(|url| !url.is_empty()) {
            println!("tests use the server that {SHARED_SERVER} names");
            return Ok(Self { url, _cluster: None });
        }
        let cluster = Cluster::start_blocking(&[]).context("starting PostgreSQL")?;
        println!("tests use a PostgreSQL in {}", cluster.directory().display());
        Ok(Self { url: cluster.url("postgres"), _cluster: Some(cluster) })
    }

    /// Where databases can be created.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Keeps a server for somebody who runs tests one by one.
pub(crate) fn run() -> Result<()> {
    installed()?;
    let cluster = Cluster::start_blocking(&[]).context("starting PostgreSQL")?;
    println!("its server logs to {}", cluster.directory().join("log").display());
    println!("in another terminal, before the tests, so that none has to start a server:\n");
    println!("  export {SHARED_SERVER}={}\n", cluster.url("postgres"));
    println!("Ctrl-C stops the server and removes everything in it");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
