//! Who runs the server. PostgreSQL refuses to run as root, which is what containers run as.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// The user that Debian's package, and most others, create for the server.
const USER: &str = "postgres";

/// The account that PostgreSQL's programs run under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// That of this process.
    Ours,
    /// Another one, since this process is root.
    Other { user: u32, group: u32 },
}

impl Account {
    pub(crate) fn find() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let id = |what| number(what).ok_or(Error::NoAccount);
        Ok(Self::Other { user: id("-u")?, group: id("-g")? })
    }

    /// A command that runs under this account and knows nothing of the caller's own servers.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        // Root's own folder may be closed to the other account.
        command.current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Self::Other { user, group } = self {
            command.uid(user).gid(group);
        }
        command
    }

    pub(crate) fn own(self, folder: &Path) -> Result<(), Error> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { user, group } => chown(folder, Some(user), Some(group))
                .map_err(Error::system(format!("giving {} to {USER}", folder.display()))),
        }
    }
}

fn number(what: &str) -> Option<u32> {
    let output = Command::new("id").args([what, USER]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
