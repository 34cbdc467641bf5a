//! Faults on a PostgreSQL cluster under load: gets what `sim/ha` needs, and runs it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::postgres::{self, shell_of_root};

/// What Patroni is installed from: itself and what it needs, each in one version.
const REQUIREMENTS: &str = "sim/ha/requirements.txt";
/// Where programs are put that are not installed in the system.
const TOOLS: &str = "target/tools";
/// Debian's package starts a server of its own, so it is only unpacked.
const UNPACK_ETCD: &str = "apt-get download etcd-server && dpkg-deb -x etcd-server_*.deb .";
/// PostgreSQL does not run as root; then this user runs it, and Patroni, and etcd.
const USER: &str = "postgres";

/// Runs `sim/ha` in the place of this process, so that a signal for one is a signal for the
/// other.
pub(crate) fn run(root: &Path, arguments: impl Iterator<Item = String>) -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "the cluster's nodes are told apart by Linux's /proc");
    let postgres = postgres::installed()?;
    let tools = root.join(TOOLS);
    fs::create_dir_all(&tools)?;
    let etcd = etcd(&tools)?;
    let patroni = patroni(root, &tools)?;
    for program in [&etcd, &patroni] {
        runs(program)?;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(root.join("sim/Cargo.toml"));
    cargo.args(["--package", "annals-ha", "--", "--postgres"]).arg(postgres.folder());
    cargo.arg("--patroni").arg(patroni).arg("--etcd").arg(etcd);
    cargo.args(arguments.skip_while(|argument| argument == "--"));
    println!("the cluster, its faults and the load: {cargo:?}");
    Err(cargo.exec()).context("running cargo")
}

fn etcd(tools: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    let folder = tools.join("etcd");
    let unpacked = folder.join("usr/bin/etcd");
    if let Some(etcd) = found.chain([unpacked.clone()]).find(|etcd| etcd.is_file()) {
        println!("etcd is {}", etcd.display());
        return Ok(etcd);
    }
    let missing = "etcd is missing; install it: `apt-get install etcd-server` on Debian and Ubuntu";
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(missing);
    }
    println!("{missing}");
    println!("unpacking Debian's package into {}:\n{UNPACK_ETCD}", folder.display());
    fs::create_dir_all(&folder)?;
    let unpack = || Command::new("sh").args(["-c", UNPACK_ETCD]).current_dir(&folder).status();
    if !unpack()?.success()
        && let Some(mut shell) = shell_of_root()
    {
        println!("getting the list of packages first: apt-get update");
        shell.args(["-c", "apt-get update"]).status()?;
        unpack()?;
    }
    ensure!(unpacked.is_file(), missing);
    Ok(unpacked)
}

/// Patroni in an environment of its own; made anew when other versions are asked for.
fn patroni(root: &Path, tools: &Path) -> Result<PathBuf> {
    let requirements = root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)?;
    let environment = tools.join("patroni");
    let patroni = environment.join("bin/patroni");
    // Written last, so it stands for an installation that came to its end.
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        println!("Patroni is {}", patroni.display());
        return Ok(patroni);
    }
    println!("installing Patroni into {}, this once, by {REQUIREMENTS}", environment.display());
    let python = python()?;
    let mut venv = Command::new(python);
    succeed(venv.args(["-m", "venv", "--clear"]).arg(&environment)).context(
        "making an environment for Python failed; on Debian it needs `apt-get install python3-venv`",
    )?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--use-pep517"]);
    succeed(pip.arg("--no-deps").arg("-r").arg(&requirements)).context("installing Patroni")?;
    fs::write(installed, wanted)?;
    Ok(patroni)
}

/// The system's Python before any other: one that lives in somebody's home runs for nobody else.
fn python() -> Result<&'static str> {
    let works = |python: &&str| {
        let mut version = Command::new(python);
        let status = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let missing = "Patroni needs Python 3: `apt-get install python3-venv` on Debian and Ubuntu";
    ["/usr/bin/python3", "python3"].into_iter().find(works).context(missing)
}

/// Whether the user who will run a program can.
fn runs(program: &Path) -> Result<()> {
    let mut version = Command::new(program);
    version.arg("--version").current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(root) = number(&["-u"])
        && root == 0
    {
        let (user, group) = (number(&["-u", USER]), number(&["-g", USER]));
        let missing = "PostgreSQL does not run as root, and there is no user postgres";
        version.uid(user.context(missing)?).gid(group.context(missing)?);
    }
    let status = version.status();
    ensure!(
        status.is_ok_and(|status| status.success()),
        "{} does not run; as root it must be where the user {USER} can read it, so move the \
         repository or run this as another user",
        program.display()
    );
    Ok(())
}

fn number(of: &[&str]) -> Option<u32> {
    let id = Command::new("id").args(of).output().ok()?;
    String::from_utf8_lossy(&id.stdout).trim().parse().ok()
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
