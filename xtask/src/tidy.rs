//! The repository's own rules, each a function from what is in the tree to what is wrong with it.

mod arrows;
mod documents;
mod lints;
mod names;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Something that breaks a rule, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
    instead: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), instead: instead.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, instead } = self;
        write!(f, "{path}:{line}: {what}; {instead}")
    }
}

/// The repository's files, as they would be committed.
#[derive(Default)]
struct Tree {
    /// Every file and folder, relative to the root, with `/` between the parts.
    paths: BTreeSet<String>,
    /// The files that are text.
    files: Vec<File>,
}

struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the file holds nothing but tests.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Its lines with their numbers, counted from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(1..).map(|(line, n)| (n, line))
    }
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("reading {prefix:?}"))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            // Neither is committed.
            if [".git", "target"].contains(&&*name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if name != "Cargo.lock"
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                let path = path.clone();
                self.files.push(File { path, text });
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    fn markdown(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_markdown())
    }
}

#[cfg(test)]
impl Tree {
    fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let files = files.map(|(path, text)| File { path: path.to_owned(), text: text.to_owned() });
        Self { paths: files.iter().map(|file| file.path.clone()).collect(), files: files.into() }
    }
}

/// Runs every rule over the repository.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = find(root)?;
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    bail!("{}", lines.join("\n"));
}

fn find(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let crates = arrows::crates(root)?;
    let rules = [
        documents::code_is_a_quotation,
        documents::every_code_has_a_page,
        documents::every_document_is_there,
        documents::links_lead_somewhere,
        documents::the_bank_is_short,
        lints::clippy_names_every_seam,
        lints::every_crate_takes_the_lints,
        lints::no_lint_is_silenced_without_reason,
        lints::no_test_is_ignored,
        lints::no_unwrap_outside_tests,
        lints::seams_are_the_only_exceptions,
        names::no_drawers,
        names::no_giants,
        words::no_machine_paths,
        words::no_registry_hosts,
    ];
    let mut findings = arrows::point_inward(&crates);
    findings.extend(rules.iter().flat_map(|rule| rule(&tree)));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(findings) = run(crate::root()) {
            panic!("\n{findings}");
        }
    }

    #[test]
    fn a_finding_says_where_what_and_how_to_mend_it() {
        let finding = Finding::new("a/b.rs", 7, "it is wrong", "do it right");
        assert_eq!(finding.to_string(), "a/b.rs:7: it is wrong; do it right");
    }
}
