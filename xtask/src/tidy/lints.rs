//! What the compiler's and clippy's lints cannot keep by themselves: that they stay switched on.

use toml::{Table, Value};

use super::{File, Finding, Tree};

/// The files that may touch clocks, random sources and id generators.
const SEAMS: &[&str] = &[
    // Decides how long somebody waits, never what is recorded.
    "crates/annals/src/retry.rs",
    "crates/annals-core/src/clock.rs",
    "crates/annals-core/src/id.rs",
];

/// What must go through a seam, and so must be listed in `clippy.toml`.
const BEHIND_SEAMS: &[&str] = &[
    "jiff::Timestamp::now",
    "rand::random",
    "rand::rng",
    "std::thread::sleep",
    "std::time::SystemTime::now",
    "uuid::Uuid::now_v7",
];

// In pieces, so that the rules do not find themselves.
const SEAM_LINT: &str = concat!("clippy::", "disallowed_methods");
const UNWRAP_LINTS: &[&str] = &[
    concat!("clippy::", "all"),
    concat!("clippy::", "restriction"),
    concat!("clippy::", "unwrap_used"),
];
const SILENCERS: &[&str] = &[
    concat!("#", "[allow("),
    concat!("#", "![allow("),
    concat!("#", "[expect("),
    concat!("#", "![expect("),
];
const IGNORES: &[&str] = &[
    concat!("#", "[ignore"),
    concat!(", ", "ignore)]"),
    concat!("//", "/ ```ignore"),
    concat!("//", "! ```ignore"),
];

/// Lines of code that name one of `words`, comments apart.
fn naming<'a>(file: &'a File, words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    file.lines()
        .filter(|(_, text)| !text.trim_start().starts_with("//"))
        .filter(|(_, text)| words.iter().any(|word| text.contains(word)))
        .map(|(line, _)| line)
}

/// Only the seams call what everybody else must get from them.
pub(super) fn seams_are_the_only_exceptions(tree: &Tree) -> Vec<Finding> {
    let others = tree.rust().filter(|file| !SEAMS.contains(&&*file.path));
    let found = others.flat_map(|file| {
        naming(file, &[SEAM_LINT]).map(|line| {
            Finding::new(
                &file.path,
                line,
                "a clock, random source or id generator is called outside its seam",
                "take what clippy.toml names as the seam, or add the file to SEAMS in \
                 xtask/src/tidy/lints.rs and say why",
            )
        })
    });
    found.collect()
}

/// `clippy.toml` forbids what belongs behind a seam, and says what to use instead.
pub(super) fn clippy_names_every_seam(tree: &Tree) -> Vec<Finding> {
    let text = tree.file("clippy.toml").map_or("", |file| &*file.text);
    let table: Table = text.parse().unwrap_or_default();
    let entries = table.get("disallowed-methods").and_then(Value::as_array);
    let reasoned: Vec<&str> = entries
        .into_iter()
        .flatten()
        .filter(|entry| !string(entry, "reason").is_empty())
        .map(|entry| string(entry, "path"))
        .collect();
    let missing = BEHIND_SEAMS.iter().filter(|path| !reasoned.contains(path));
    let finding = |path: &&str| {
        let what = format!("{path} is not forbidden with a reason");
        let instead = "add it to disallowed-methods and name the seam to use";
        Finding::new("clippy.toml", 1, what, instead)
    };
    missing.map(finding).collect()
}

fn string<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// No source file switches the lint against `unwrap` off; tests may.
pub(super) fn no_unwrap_outside_tests(tree: &Tree) -> Vec<Finding> {
    let sources = tree.rust().filter(|file| !file.is_test());
    let found = sources.flat_map(|file| {
        naming(file, UNWRAP_LINTS).map(|line| {
            Finding::new(
                &file.path,
                line,
                "the lint against unwrap is switched off",
                "return an error, or `expect` the invariant that makes it impossible",
            )
        })
    });
    found.collect()
}

/// Every crate obeys the lints of the workspace.
pub(super) fn every_crate_takes_the_lints(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.files.iter().filter(|file| {
        let folders: Vec<&str> = file.path.split('/').collect();
        matches!(folders[..], ["crates" | "examples", _, "Cargo.toml"] | ["xtask", "Cargo.toml"])
    });
    let lax = manifests.filter(|file| {
        let table: Table = file.text.parse().unwrap_or_default();
        let inherits = table.get("lints").and_then(|lints| lints.get("workspace"));
        inherits.and_then(Value::as_bool) != Some(true)
    });
    let finding = |file: &File| {
        let what = "the crate does not take the workspace's lints";
        Finding::new(&file.path, 1, what, "add [lints] with workspace = true")
    };
    lax.map(finding).collect()
}

/// Whoever silences a lint says why.
pub(super) fn no_lint_is_silenced_without_reason(tree: &Tree) -> Vec<Finding> {
    let found = tree.rust().flat_map(|file| {
        naming(file, SILENCERS).filter(|line| !attribute_at(file, *line).contains("reason")).map(
            |line| {
                Finding::new(
                    &file.path,
                    line,
                    "a lint is silenced without a reason",
                    "write #[expect(.., reason = \"..\")]",
                )
            },
        )
    });
    found.collect()
}

/// The text of an attribute that starts in a line and may go on in the next ones.
fn attribute_at(file: &File, line: usize) -> String {
    let mut text = String::new();
    for (_, part) in file.lines().skip(line - 1) {
        text.push_str(part);
        if part.contains(")]") {
            break;
        }
    }
    text
}

/// A test that does not run proves nothing.
pub(super) fn no_test_is_ignored(tree: &Tree) -> Vec<Finding> {
    let found = tree.rust().flat_map(|file| {
        let ignoring = |text: &str| IGNORES.iter().any(|word| text.trim().contains(word));
        file.lines().filter(move |(_, text)| ignoring(text)).map(|(line, _)| {
            let what = "a test is ignored";
            Finding::new(&file.path, line, what, "make it quick and sure, or remove it")
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_outside_the_seams_is_found() {
        let attribute = format!("fn a() {{\n    #[expect({SEAM_LINT}, reason = \"\")]\n}}\n");
        let elsewhere = Tree::of([("crates/annals/src/a.rs", &attribute)]);
        assert_eq!(seams_are_the_only_exceptions(&elsewhere)[0].line, 2);
        let seam = Tree::of([(SEAMS[1], &attribute)]);
        assert_eq!(seams_are_the_only_exceptions(&seam), []);
    }

    #[test]
    fn a_seam_that_clippy_does_not_know_is_found() {
        let entries: Vec<String> = BEHIND_SEAMS
            .iter()
            .map(|path| format!("{{ path = \"{path}\", reason = \"take the seam\" }}"))
            .collect();
        let clippy = |entries: &[String]| format!("disallowed-methods = [{}]", entries.join(", "));
        let check = |text: &str| clippy_names_every_seam(&Tree::of([("clippy.toml", text)]));
        assert_eq!(check(&clippy(&entries)), []);
        assert_eq!(check(&clippy(&entries[1..])).len(), 1);
        assert_eq!(check(&clippy(&entries).replace("take the seam", "")).len(), entries.len());
        assert_eq!(clippy_names_every_seam(&Tree::default()).len(), entries.len());
    }

    #[test]
    fn unwrap_may_be_allowed_in_tests_only() {
        let attribute = format!("#![expect({}, reason = \"short\")]\n", UNWRAP_LINTS[2]);
        assert_eq!(no_unwrap_outside_tests(&Tree::of([("src/a.rs", &attribute)])).len(), 1);
        assert_eq!(no_unwrap_outside_tests(&Tree::of([("tests/a.rs", &attribute)])), []);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let takes = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        let check = |text| every_crate_takes_the_lints(&Tree::of([("crates/a/Cargo.toml", text)]));
        assert_eq!(check(takes), []);
        assert_eq!(check("[package]\nname = \"a\"\n").len(), 1);
        assert_eq!(check("[package]\nname = \"a\"\n[lints]\nworkspace = false\n").len(), 1);
    }

    #[test]
    fn silence_without_a_reason_is_found() {
        let silencer = SILENCERS[0];
        let check = |text: &str| no_lint_is_silenced_without_reason(&Tree::of([("a.rs", text)]));
        assert_eq!(check(&format!("{silencer}dead_code)]\nfn a() {{}} // reason\n")).len(), 1);
        assert_eq!(check(&format!("{silencer}\n    dead_code,\n    reason = \"x\"\n)]\n")), []);
        assert_eq!(check(&format!("// {silencer}dead_code)]\n")), []);
    }

    #[test]
    fn an_ignored_test_is_found() {
        for ignore in IGNORES {
            let text = format!("{ignore}]\n");
            assert_eq!(no_test_is_ignored(&Tree::of([("a.rs", &text)])).len(), 1, "{ignore}");
        }
        assert_eq!(no_test_is_ignored(&Tree::of([("a.rs", "fn ignore() {}\n")])), []);
    }
}
