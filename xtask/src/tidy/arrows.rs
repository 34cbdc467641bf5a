//! Dependencies between the workspace's crates point inward.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;

/// What a crate may know.
struct Arrows {
    from: &'static str,
    to: &'static [&'static str],
    /// What its tests may know besides.
    tests_to: &'static [&'static str],
}

/// Every crate of the workspace except the examples.
const ARROWS: &[Arrows] = &[
    Arrows {
        from: "annals",
        to: &["annals-core", "annals-macros", "annals-postgres", "annals-sqlite"],
        tests_to: &["annals-conformance", "annals-scratch"],
    },
    Arrows { from: "annals-api", to: &["annals-core"], tests_to: &[] },
    Arrows {
        from: "annals-cli",
        to: &[
            "annals",
            "annals-api",
            "annals-client",
            "annals-core",
            "annals-postgres",
            "annals-server",
            "annals-sqlite",
        ],
        tests_to: &["annals-scratch"],
    },
    Arrows {
        from: "annals-client",
        to: &["annals-api", "annals-core"],
        tests_to: &["annals-conformance"],
    },
    Arrows { from: "annals-conformance", to: &["annals-core"], tests_to: &[] },
    Arrows { from: "annals-core", to: &[], tests_to: &["annals-conformance"] },
    Arrows { from: "annals-feed", to: &["annals"], tests_to: &["annals-scratch"] },
    Arrows { from: "annals-macros", to: &["annals-core"], tests_to: &[] },
    Arrows {
        from: "annals-postgres",
        to: &["annals-core"],
        tests_to: &["annals-conformance", "annals-scratch"],
    },
    Arrows { from: "annals-rules", to: &["annals"], tests_to: &[] },
    Arrows { from: "annals-scratch", to: &[], tests_to: &[] },
    Arrows { from: "annals-search", to: &["annals", "annals-core"], tests_to: &["annals-scratch"] },
    Arrows {
        from: "annals-server",
        to: &["annals", "annals-api", "annals-core"],
        tests_to: &["annals-conformance", "annals-scratch", "annals-sqlite"],
    },
    Arrows {
        from: "annals-sqlite",
        to: &["annals-core"],
        tests_to: &["annals-conformance", "annals-scratch"],
    },
    Arrows { from: "annals-webhooks", to: &["annals"], tests_to: &[] },
    Arrows { from: "xtask", to: &["annals-scratch"], tests_to: &[] },
];

/// What an example may know.
const EXAMPLE: Arrows = Arrows {
    from: "an example",
    to: &["annals", "annals-feed", "annals-rules", "annals-search", "annals-webhooks"],
    tests_to: &["annals-scratch"],
};

/// The backends, which the framework names only behind a feature.
const BACKENDS: &[&str] = &["annals-postgres", "annals-sqlite"];

/// A crate of the workspace.
pub(super) struct Crate {
    name: String,
    /// Its manifest, relative to the root.
    manifest: String,
    manifest_text: String,
    /// The workspace's crates it depends on.
    knows: Vec<Known>,
}

struct Known {
    name: String,
    only_tests: bool,
    optional: bool,
}

/// The crates of the workspace, as cargo sees them.
pub(super) fn crates(root: &Path) -> Result<Vec<Crate>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("asking cargo for the workspace's crates")?;
    let names: Vec<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let crate_of = |package: &cargo_metadata::Package| {
        let manifest = &package.manifest_path;
        let known = package
            .dependencies
            .iter()
            .filter(|dependency| names.contains(&&*dependency.name))
            .map(|dependency| Known {
                name: dependency.name.clone(),
                only_tests: dependency.kind == DependencyKind::Development,
                optional: dependency.optional,
            });
        Ok(Crate {
            name: package.name.to_string(),
            manifest: manifest
                .strip_prefix(&metadata.workspace_root)
                .unwrap_or(manifest)
                .to_string(),
            manifest_text: fs::read_to_string(manifest)?,
            knows: known.collect(),
        })
    };
    metadata.packages.iter().map(crate_of).collect()
}

/// Everything may know `annals-core`, backends know nothing else, the framework names no backend
/// outside its features, and nobody but the command line knows the server.
pub(super) fn point_inward(crates: &[Crate]) -> Vec<Finding> {
    crates.iter().flat_map(arrows_of_crate).collect()
}

fn arrows_of_crate(crate_: &Crate) -> Vec<Finding> {
    let listed = ARROWS.iter().find(|arrows| arrows.from == crate_.name);
    let example = crate_.manifest.starts_with("examples/");
    let Some(arrows) = listed.or(example.then_some(&EXAMPLE)) else {
        return vec![Finding::new(
            &crate_.manifest,
            1,
            format!("nothing says what crate {} may depend on", crate_.name),
            "add it to ARROWS in xtask/src/tidy/arrows.rs",
        )];
    };
    let wrong = crate_.knows.iter().filter_map(|known| {
        let (what, instead) = fault(arrows, known)?;
        let line = line_of(&crate_.manifest_text, &known.name);
        Some(Finding::new(&crate_.manifest, line, what, instead))
    });
    wrong.collect()
}

fn fault(arrows: &Arrows, known: &Known) -> Option<(String, String)> {
    let (from, to) = (arrows.from, &*known.name);
    let allowed = arrows.to.contains(&to) || (known.only_tests && arrows.tests_to.contains(&to));
    if !allowed {
        return Some((
            format!("{from} may not depend on {to}"),
            format!("it may know {:?}; move what it needs inward", arrows.to),
        ));
    }
    let bare = from == "annals" && BACKENDS.contains(&to) && !known.optional && !known.only_tests;
    bare.then(|| {
        (
            format!("annals names the backend {to} unconditionally"),
            "make the dependency optional and give it a feature".to_owned(),
        )
    })
}

fn line_of(manifest: &str, dependency: &str) -> usize {
    let named = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    manifest.lines().position(named).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, folder: &str, known: Known) -> Vec<String> {
        let crate_ = Crate {
            name: name.to_owned(),
            manifest: format!("{folder}/{name}/Cargo.toml"),
            manifest_text: format!("[dependencies]\n{}.workspace = true\n", known.name),
            knows: vec![known],
        };
        let findings = point_inward(&[crate_]);
        findings.iter().map(Finding::to_string).collect()
    }

    fn on(name: &str) -> Known {
        Known { name: name.to_owned(), only_tests: false, optional: false }
    }

    #[test]
    fn an_arrow_outward_is_found_at_its_line() {
        assert_eq!(
            check("annals-sqlite", "crates", on("annals")),
            ["crates/annals-sqlite/Cargo.toml:2: annals-sqlite may not depend on annals; \
                 it may know [\"annals-core\"]; move what it needs inward"]
        );
        for (from, to) in [
            ("annals-core", "annals-conformance"),
            ("annals", "annals-server"),
            ("annals-server", "annals-sqlite"),
            ("annals-client", "annals-server"),
            ("annals-conformance", "annals-sqlite"),
        ] {
            assert_eq!(check(from, "crates", on(to)).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn tests_may_know_the_suite_but_not_the_server() {
        let in_tests = |name| Known { only_tests: true, ..on(name) };
        assert!(check("annals-core", "crates", in_tests("annals-conformance")).is_empty());
        assert_eq!(check("annals-sqlite", "crates", in_tests("annals-server")).len(), 1);
        assert!(check("annals-postgres", "crates", in_tests("annals-scratch")).is_empty());
        assert_eq!(check("annals-postgres", "crates", on("annals-scratch")).len(), 1);
    }

    #[test]
    fn the_framework_names_backends_only_behind_features() {
        let optional = Known { optional: true, ..on("annals-sqlite") };
        assert!(check("annals", "crates", optional).is_empty());
        assert!(check("annals", "crates", on("annals-sqlite"))[0].contains("unconditionally"));
    }

    #[test]
    fn examples_know_the_framework_and_new_crates_are_asked_about() {
        assert!(check("bank", "examples", on("annals")).is_empty());
        assert_eq!(check("bank", "examples", on("annals-server")).len(), 1);
        assert!(check("annals-new", "crates", on("annals-core"))[0].contains("ARROWS"));
    }
}
