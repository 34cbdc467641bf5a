//! Applications that use other SQLite or SQL crates beside Annals.
//!
//! A program can hold one SQLite only, so cargo must find one `rusqlite` that suits everybody.
//! This chore shows that it does, at both ends of the range that Annals accepts.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use toml::{Table, Value};

const SHOWN: &[&str] = &["rusqlite", "libsqlite3-sys", "sqlx"];

/// Resolves and checks applications made up for the purpose.
pub(crate) fn run(root: &Path) -> Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let range = range(&manifest)
        .context("Cargo.toml does not accept rusqlite as \">=0.OLDEST, <0.BEYOND\"")?;
    newest_end(root, &range)?;
    beside_sqlx(root)?;
    oldest_end(root, &range)
}

fn newest_end(root: &Path, range: &Range) -> Result<()> {
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    ensure!(
        series(&lock, "rusqlite") == Some(range.newest),
        "Cargo.lock does not hold rusqlite 0.{}, the newest that Cargo.toml accepts; run cargo \
         update --package rusqlite",
        range.newest
    );
    println!("the workspace: {}", chosen(&lock));
    Ok(())
}

fn beside_sqlx(root: &Path) -> Result<()> {
    let application = Application::new(&format!(
        "annals = {{ path = {:?}, default-features = false, features = [\"sqlite\"] }}\n\
         sqlx = {{ version = \"0.9\", default-features = false, features = [\"postgres\", \
         \"runtime-tokio\", \"uuid\"] }}\n",
        root.join("crates/annals"),
    ))?;
    application.cargo(&["generate-lockfile", "--quiet"]).context(
        "an application with sqlx and annals does not resolve; widen the range of \
                  rusqlite in Cargo.toml",
    )?;
    println!("beside sqlx: {}", chosen(&application.lock()?));
    Ok(())
}

fn oldest_end(root: &Path, range: &Range) -> Result<()> {
    let application = Application::new(&format!(
        "annals-sqlite = {{ path = {:?} }}\nrusqlite = \"=0.{}\"\n",
        root.join("crates/annals-sqlite"),
        range.oldest,
    ))?;
    // The other versions stay those that the workspace is tested with.
    fs::copy(root.join("Cargo.lock"), application.folder.path().join("Cargo.lock"))?;
    let target = root.join("target/resolve");
    let target = target.to_str().context("the repository's path is not UTF-8")?;
    application
        .cargo(&["check", "--quiet", "--package", "annals-sqlite", "--target-dir", target])
        .context(
            "annals-sqlite does not compile with the oldest rusqlite that Cargo.toml \
                  accepts",
        )?;
    println!("the oldest rusqlite: {}", chosen(&application.lock()?));
    Ok(())
}

/// The series of rusqlite that the workspace accepts: `39` for 0.39.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    oldest: u64,
    newest: u64,
}

fn range(manifest: &str) -> Option<Range> {
    let manifest: Table = manifest.parse().ok()?;
    let version = ["dependencies", "rusqlite", "version"]
        .iter()
        .try_fold(manifest.get("workspace")?, |value, key| value.get(key))
        .and_then(Value::as_str)?;
    let (oldest, beyond) = version.strip_prefix(">=0.")?.split_once(", <0.")?;
    Some(Range {
        oldest: oldest.parse().ok()?,
        newest: beyond.parse::<u64>().ok()?.checked_sub(1)?,
    })
}

fn versions<'a>(lock: &'a Table, name: &'a str) -> impl Iterator<Item = &'a str> {
    let packages = lock.get("package").and_then(Value::as_array);
    packages
        .into_iter()
        .flatten()
        .filter(move |package| package.get("name").and_then(Value::as_str) == Some(name))
        .filter_map(|package| package.get("version").and_then(Value::as_str))
}

/// The series of a package in a lock file: `41` for 0.41.2.
fn series(lock: &str, name: &str) -> Option<u64> {
    let lock: Table = lock.parse().ok()?;
    let version = versions(&lock, name).next()?;
    version.strip_prefix("0.")?.split('.').next()?.parse().ok()
}

/// The versions that matter here, as one line.
fn chosen(lock: &str) -> String {
    let lock: Table = lock.parse().unwrap_or_default();
    let shown = SHOWN
        .iter()
        .flat_map(|name| versions(&lock, name).map(move |version| format!("{name} {version}")));
    shown.collect::<Vec<_>>().join(", ")
}

/// A crate in a folder that goes away with it.
struct Application {
    folder: TempDir,
}

impl Application {
    fn new(dependencies: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifest = format!(
            "[package]\nname = \"application\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{dependencies}\n[workspace]\n"
        );
        fs::write(folder.path().join("Cargo.toml"), manifest)?;
        fs::create_dir(folder.path().join("src"))?;
        fs::write(folder.path().join("src/main.rs"), "fn main() {}\n")?;
        Ok(Self { folder })
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let status =
            Command::new("cargo").args(arguments).current_dir(self.folder.path()).status()?;
        ensure!(status.success(), "cargo {} failed", arguments.join(" "));
        Ok(())
    }

    fn lock(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("Cargo.lock"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_read_from_the_manifest() {
        let manifest = |version| format!("[workspace.dependencies]\nrusqlite = {version}\n");
        let ends = Range { oldest: 39, newest: 41 };
        let fine = manifest("{ version = \">=0.39, <0.42\" }");
        assert_eq!(range(&fine), Some(ends));
        for bad in ["{ version = \"0.41\" }", "{ version = \">=0.39, <1\" }", "\"0.41\""] {
            assert_eq!(range(&manifest(bad)), None, "{bad}");
        }
    }

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let lock = "[[package]]\nname = \"rusqlite\"\nversion = \"0.40.2\"\n\n\
                    [[package]]\nname = \"sqlx\"\nversion = \"0.9.0\"\n";
        assert_eq!(series(lock, "rusqlite"), Some(40));
        assert_eq!(series(lock, "libsqlite3-sys"), None);
        assert_eq!(chosen(lock), "rusqlite 0.40.2, sqlx 0.9.0");
    }
}
