//! A file tells one story and is named for it.

use super::{File, Finding, Tree};

const DRAWERS: &[&str] = &["common", "helper", "helpers", "misc", "types", "util", "utils"];
const INSTEAD: &str =
    "name it for the one thing it is about, and move the rest to where it is used";
const LINES_MAX: usize = 600;

/// No module, crate or source file is a drawer for whatever fits nowhere else.
pub(super) fn no_drawers(tree: &Tree) -> Vec<Finding> {
    let files = tree.rust().filter_map(|file| {
        let drawer = drawer_in_path(&file.path)?;
        let what = format!("{drawer:?} says nothing about what is in it");
        Some(Finding::new(&file.path, 1, what, INSTEAD))
    });
    let modules = tree.rust().flat_map(inline_drawers);
    files.chain(modules).collect()
}

/// The part of the path that is a drawer's name, or ends in one, as `annals-util` does.
fn drawer_in_path(path: &str) -> Option<&str> {
    path.trim_end_matches(".rs").split('/').find(|part| {
        let last = part.rsplit(['-', '_']).next().unwrap_or(part);
        DRAWERS.contains(&last)
    })
}

fn inline_drawers(file: &File) -> impl Iterator<Item = Finding> {
    file.lines().filter_map(|(line, text)| {
        let declared = text.split_once("mod ")?.1;
        let name = declared.strip_suffix('{')?.trim();
        DRAWERS.contains(&name).then(|| {
            let what = format!("module {name:?} says nothing about what is in it");
            Finding::new(&file.path, line, what, INSTEAD)
        })
    })
}

/// No source file is longer than a reader can hold in mind; tests are lists and may be.
pub(super) fn no_giants(tree: &Tree) -> Vec<Finding> {
    let giant = |file: &File| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX && !file.is_test()).then(|| {
            let what = format!("the file has {lines} lines, more than {LINES_MAX}");
            let instead = "split it where its story has a second part";
            Finding::new(&file.path, LINES_MAX + 1, what, instead)
        })
    };
    tree.rust().filter_map(giant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found_in_files_folders_crates_and_modules() {
        for path in [
            "crates/annals/src/util.rs",
            "crates/annals/src/misc/read.rs",
            "crates/annals-common/src/lib.rs",
            "crates/annals/tests/test_helpers.rs",
        ] {
            assert_eq!(no_drawers(&Tree::of([(path, "")])).len(), 1, "{path}");
        }
        let inline = Tree::of([("src/lib.rs", "fn a() {}\npub(crate) mod helpers {\n}\n")]);
        assert_eq!(no_drawers(&inline)[0].line, 2);
        let fine = Tree::of([("src/event_type.rs", "mod common_ground {\n}\n")]);
        assert_eq!(no_drawers(&fine), []);
    }

    #[test]
    fn giants_are_found_but_tests_may_be_long() {
        let long = "\n".repeat(LINES_MAX + 1);
        let limit = "\n".repeat(LINES_MAX);
        assert_eq!(no_giants(&Tree::of([("src/a.rs", &long)])).len(), 1);
        for (path, text) in [
            ("src/a.rs", &limit),
            ("tests/a.rs", &long),
            ("src/a/tests.rs", &long),
            ("README.md", &long),
        ] {
            assert_eq!(no_giants(&Tree::of([(path, text)])), [], "{path}");
        }
    }
}
