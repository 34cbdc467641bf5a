//! Words that would make the repository depend on where it lies.

use super::{Finding, Tree};

// In pieces, so that the rules do not find themselves.
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "home/"), concat!("/", "root/"), concat!("/", "work/")];
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("//docs", ".rs"),
    concat!("//lib", ".rs"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("rubygems", ".org"),
    concat!("shields", ".io"),
];

/// No path that exists on one machine only.
pub(super) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    occurrences(
        tree,
        MACHINE_PATHS,
        "is a folder of one machine",
        "write the path relative to the repository, or take it as an argument",
    )
}

/// No link or badge of a package registry: the repository must read the same wherever it lies.
pub(super) fn no_registry_hosts(tree: &Tree) -> Vec<Finding> {
    occurrences(
        tree,
        REGISTRY_HOSTS,
        "is a package registry's host",
        "name the package instead, or link a page of this repository",
    )
}

fn occurrences(tree: &Tree, words: &[&str], what: &str, instead: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (line, text) in file.lines() {
            for word in words.iter().filter(|word| text.contains(**word)) {
                let what = format!("{word:?} {what}");
                findings.push(Finding::new(&file.path, line, what, instead));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found() {
        let text = format!("fine\nlook in {}me/annals.db\n", MACHINE_PATHS[0]);
        let findings = no_machine_paths(&Tree::of([("docs/a.md", &text)]));
        assert_eq!((findings.len(), findings[0].line), (1, 2));
        assert_eq!(no_machine_paths(&Tree::of([("a.md", "at work / at home\n")])), []);
    }

    #[test]
    fn registry_hosts_are_found_and_file_names_are_not() {
        let text = format!("[annals](https:{}/annals)\n", REGISTRY_HOSTS[1]);
        assert_eq!(no_registry_hosts(&Tree::of([("README.md", &text)])).len(), 1);
        let fine = Tree::of([("README.md", "src/lib.rs and src/docs.rs\n")]);
        assert_eq!(no_registry_hosts(&fine), []);
    }
}
