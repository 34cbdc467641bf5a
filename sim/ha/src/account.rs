//! Who runs the servers. PostgreSQL refuses to run as root, which is what containers run as.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The user that Debian's package, and most others, create for the server.
const USER: &str = "postgres";

/// The account that the servers run under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// That of this process.
    Ours,
    /// Another one, since this process is root.
    Other { user: u32, group: u32 },
}

impl Account {
    pub(crate) fn find() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        Ok(Self::Other { user: number("-u")?, group: number("-g")? })
    }

    /// A command that runs in `folder` under this account, out of reach of a terminal's Ctrl-C,
    /// and knows nothing of the caller's own servers.
    pub(crate) fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("HOME", folder).process_group(0);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["PG", "PATRONI", "ETCD"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&*name);
            }
        }
        if let Self::Other { user, group } = self {
            command.uid(user).gid(group);
        }
        command
    }

    /// Hands a file or folder to this account.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group))
                .with_context(|| format!("giving {} to {USER}", path.display())),
        }
    }
}

fn number(what: &str) -> Result<u32> {
    let output = Command::new("id").args([what, USER]).output().context("running id")?;
    ensure!(
        output.status.success(),
        "there is no user {USER}, and PostgreSQL does not run as root; run this as another user"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}
