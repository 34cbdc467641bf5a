//! Where PostgreSQL's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The oldest major version that is used.
pub const OLDEST_VERSION: u32 = 15;

pub(crate) const INSTALL: &str = "install it: `apt-get install postgresql` on Debian and Ubuntu, \
                                  `brew install postgresql` on macOS";

const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_basebackup"];

/// Folders with a folder for each version, and what stands between that folder and its programs.
/// Packages put them there and leave them off the search path.
const PACKAGED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The programs of one installed PostgreSQL.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    version: u32,
}

impl Binaries {
    /// The first PostgreSQL on the search path, else the newest that a package installed.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is none of [`OLDEST_VERSION`] or newer.
    pub fn find() -> Result<Self, Error> {
        let mut old = Vec::new();
        for folder in on_the_path().into_iter().chain(packaged()) {
            match version_in(&folder) {
                Some(version) if version >= OLDEST_VERSION => return Ok(Self { folder, version }),
                Some(version) => old.push(format!("version {version} in {}", folder.display())),
                None => {}
            }
        }
        let found = if old.is_empty() { "none was found".to_owned() } else { old.join(", ") };
        Err(Error::Missing { found })
    }

    /// The folder with the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// A link on the search path is followed, since packages link only some of the programs.
fn on_the_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let servers = env::split_paths(&path).filter_map(|p| fs::canonicalize(p.join("postgres")).ok());
    servers.filter_map(|server| Some(server.parent()?.to_owned())).collect()
}

/// The folders of the packaged versions, newest first.
fn packaged() -> Vec<PathBuf> {
    let mut folders: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, programs) in PACKAGED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(version) = version.and_then(|version| version.parse().ok()) {
                folders.push((version, entry.path().join(programs)));
            }
        }
    }
    folders.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    folders.into_iter().map(|(_, folder)| folder).collect()
}

/// The version in a folder that has all that is needed.
fn version_in(folder: &Path) -> Option<u32> {
    if !PROGRAMS.iter().all(|program| folder.join(program).is_file()) {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    version_of(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 15.13 (Debian 15.13-0)` is 15, and `… 18beta1` is 18.
fn version_of(says: &str) -> Option<u32> {
    let number = says.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood() {
        for (says, version) in [
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("postgres (PostgreSQL) devel", None),
            ("something else 15", None),
        ] {
            assert_eq!(version_of(says), version, "{says}");
        }
    }
}
