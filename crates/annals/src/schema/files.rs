//! The lock as a file of the application.

use std::env::{self, VarError};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Lock, Schema, Unlocked};

/// What the environment may ask for.
const UPDATE: &str = "ANNALS_SCHEMA";

/// Checks that the program can read every event that was ever stored, by the lock in this file:
/// for a test of the application. The path begins at its `Cargo.toml`.
///
/// With `ANNALS_SCHEMA=update` in the environment, what is new goes into the file. A locked shape
/// is never taken away, and only changed if it has become wider.
///
/// # Panics
/// When stored events could not be read, with the upcasters to write; and when the file is not
/// there, or lacks a shape that the program writes.
#[track_caller]
pub fn check_lock(path: impl AsRef<Path>, schema: &Schema) {
    if let Err(why) = Mode::asked().and_then(|mode| check(path.as_ref(), schema, mode)) {
        panic!("{why}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Check,
    Update,
}

impl Mode {
    fn asked() -> Result<Self, String> {
        match env::var(UPDATE).as_deref() {
            Err(VarError::NotPresent) | Ok("") => Ok(Self::Check),
            Ok("update") => Ok(Self::Update),
            _ => Err(format!("{UPDATE} is set, and not to `update`, which is all it can be")),
        }
    }
}

fn check(path: &Path, schema: &Schema, mode: Mode) -> Result<(), String> {
    let name = path.display();
    let file = in_package(path);
    let lock = match read_lock(&file, &name)? {
        Some(lock) => lock,
        None if mode == Mode::Update => Lock::new(),
        None => {
            return Err(format!(
                "there is no {name} yet; make it with `{UPDATE}=update cargo test`, and check it in"
            ));
        }
    };
    schema.check(&lock).map_err(|breaking| {
        let all: Vec<_> = breaking.iter().map(ToString::to_string).collect();
        format!("events that are stored could not be read, by {name}\n\n{}\n", all.join("\n\n"))
    })?;
    let unlocked = schema.unlocked(&lock);
    match mode {
        _ if unlocked.is_empty() && file.exists() => Ok(()),
        Mode::Update => fs::write(&file, schema.locked(&lock).to_json())
            .map_err(|error| format!("writing {name}: {error}")),
        Mode::Check => Err(out_of_date(&name, &unlocked)),
    }
}

/// The lock in a file; `None` when there is no file.
pub(super) fn read_lock(
    file: &Path,
    name: &impl std::fmt::Display,
) -> Result<Option<Lock>, String> {
    match fs::read_to_string(file) {
        Ok(text) => Lock::from_json(&text).map(Some).map_err(|error| {
            format!("{name} is not a lock: {error}; take it back from the last commit")
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("reading {name}: {error}")),
    }
}

fn out_of_date(name: &impl std::fmt::Display, unlocked: &[Unlocked]) -> String {
    let list: String = unlocked.iter().map(|shape| format!("  - {shape}\n")).collect();
    format!(
        "{name} does not have what the program writes:\n{list}All of it can be read. Add it with \
         `{UPDATE}=update cargo test`, and check the file in."
    )
}

/// A path from the package under test: its directory is where tests run, and what cargo says.
pub(super) fn in_package(path: &Path) -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from).join(path)
}

/// The files of a directory with this ending, sorted.
pub(super) fn files_in(directory: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files.sort();
    Ok(files)
}
