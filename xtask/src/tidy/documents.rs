//! Documents that agree with the code and with each other.

use std::collections::{BTreeSet, HashMap};

use super::{File, Finding, Tree};

const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "GLOSSARY.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "STYLE.md",
];

/// Before a block of code in a document: the file that the block quotes.
const QUOTATION: &str = "<!-- quotes ";
const BANK: &str = "examples/bank/src/account.rs";
const BANK_LINES_MAX: usize = 40;

/// The documents that everything else refers to are there, and changes are written down.
pub(super) fn every_document_is_there(tree: &Tree) -> Vec<Finding> {
    let missing = DOCUMENTS.iter().filter(|path| tree.file(path).is_none());
    let mut findings: Vec<Finding> =
        missing.map(|path| Finding::new(path, 1, "the document is missing", "write it")).collect();
    if let Some(changes) = tree.file("CHANGELOG.md")
        && !changes.lines().any(|(_, text)| text == "## Unreleased")
    {
        findings.push(Finding::new(
            &changes.path,
            1,
            "changes to come have no place",
            "start with the heading \"## Unreleased\"",
        ));
    }
    findings
}

/// Every word an error's `code()` returns has a page, and every page has its word.
pub(super) fn every_code_has_a_page(tree: &Tree) -> Vec<Finding> {
    let codes: Vec<(&File, usize, &str)> = tree
        .rust()
        .filter(|file| file.path.starts_with("crates/") && !file.is_test())
        .flat_map(|file| codes(file).map(move |(line, code)| (file, line, code)))
        .collect();
    let page = |code: &str| format!("docs/errors/{code}.md");
    let unwritten = codes.iter().filter(|(.., code)| tree.file(&page(code)).is_none()).map(
        |(file, line, code)| {
            let what = format!("error code {code:?} has no page");
            let instead = format!("write {} for the person who meets it", page(code));
            Finding::new(&file.path, *line, what, instead)
        },
    );
    let pages: BTreeSet<String> = codes.iter().map(|(.., code)| page(code)).collect();
    let unused = tree
        .markdown()
        .filter(|file| file.path.starts_with("docs/errors/") && !file.path.ends_with("README.md"))
        .filter(|file| !pages.contains(&file.path))
        .map(|file| Finding::new(&file.path, 1, "no error has this code", "remove the page"));
    unwritten.chain(unused).collect()
}

/// The words that functions named `code` return, with their lines.
fn codes(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    file.lines().filter_map(move |(line, text)| {
        let text = text.trim();
        if text.contains("fn code(&self) -> &'static str") {
            inside = true;
        } else if text.contains("fn ") {
            inside = false;
        }
        let quoted = text.split_once("=> \"")?.1;
        let code = quoted.split_once('"')?.0;
        inside.then_some((line, code))
    })
}

/// Links within the repository lead to a file, and to a heading when they name one.
pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.markdown() {
        for (line, target) in links(file) {
            if let Some((what, instead)) = broken(tree, file, target) {
                findings.push(Finding::new(&file.path, line, what, instead));
            }
        }
    }
    findings
}

fn broken(tree: &Tree, file: &File, target: &str) -> Option<(String, String)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = resolved(&file.path, path);
    if !tree.paths.contains(&path) {
        let what = format!("link to {target:?} leads nowhere");
        return Some((what, "link a file of this repository".to_owned()));
    }
    let headings = tree.file(&path).map(anchors).unwrap_or_default();
    (!anchor.is_empty() && !headings.contains(anchor)).then(|| {
        let what = format!("{path} has no heading #{anchor}");
        (what, format!("link one of {headings:?}"))
    })
}

/// The path a link means, seen from the file that holds it.
fn resolved(from: &str, link: &str) -> String {
    if link.is_empty() {
        return from.to_owned();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The targets of the links of a document, code apart.
fn links(file: &File) -> impl Iterator<Item = (usize, &str)> {
    prose(file).flat_map(|(line, text)| {
        // Every other piece between backticks is code.
        let pieces = text.split('`').step_by(2);
        let ends = pieces.flat_map(|piece| piece.split("](").skip(1));
        ends.filter_map(move |rest| Some((line, rest.split_once(')')?.0)))
    })
}

/// The anchors that a document's headings have when it is shown as a page.
fn anchors(file: &File) -> BTreeSet<String> {
    let mut seen = HashMap::<String, usize>::new();
    let headings = prose(file).filter_map(|(_, text)| {
        let title = text.trim_start_matches('#');
        (title.len() < text.len()).then_some(title.strip_prefix(' ')?)
    });
    let slugs = headings.map(|title| {
        let slug = slug(title);
        let count = seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    });
    slugs.collect()
}

fn slug(title: &str) -> String {
    let kept = title.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The lines of a document outside its blocks of code.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    file.lines().filter(move |(_, text)| {
        let fence = text.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// A block of code that claims to quote a file is in that file, word for word, so it compiles.
pub(super) fn code_is_a_quotation(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.markdown() {
        for quotation in quotations(file) {
            let source = tree.file(quotation.path).map_or("", |source| &*source.text);
            if quotation.code.is_empty() || !source.contains(&quotation.code) {
                let what = format!("the code is not in {}", quotation.path);
                let instead = "copy it from there, word for word";
                findings.push(Finding::new(&file.path, quotation.line, what, instead));
            }
        }
    }
    findings
}

/// The bank account of the README stays a matter of one screen.
pub(super) fn the_bank_is_short(tree: &Tree) -> Vec<Finding> {
    let Some(readme) = tree.file("README.md") else {
        return Vec::new();
    };
    let bank = quotations(readme).find(|quotation| quotation.path == BANK);
    let (line, what) = match &bank {
        None => (1, format!("no code quotes {BANK}")),
        Some(bank) => {
            let lines = bank.code.lines().filter(|text| !text.trim().is_empty());
            let count = lines.count();
            if count <= BANK_LINES_MAX {
                return Vec::new();
            }
            (bank.line, format!("the bank account has {count} lines"))
        }
    };
    let instead = format!("show it in at most {BANK_LINES_MAX}");
    vec![Finding::new(&readme.path, line, what, instead)]
}

struct Quotation<'a> {
    line: usize,
    path: &'a str,
    code: String,
}

fn quotations(file: &File) -> impl Iterator<Item = Quotation<'_>> {
    file.lines().filter_map(|(line, text)| {
        let path = text.strip_prefix(QUOTATION)?.strip_suffix(" -->")?;
        let block = file.lines().skip(line + 1).map(|(_, text)| text);
        let code = block.take_while(|text| !text.starts_with("```"));
        Some(Quotation { line, path, code: code.map(|text| format!("{text}\n")).collect() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_document_and_a_closed_changelog_are_found() {
        let findings = every_document_is_there(&Tree::of([("CHANGELOG.md", "## 1.0\n")]));
        assert_eq!(findings.len(), DOCUMENTS.len());
        assert!(findings.iter().any(|f| f.what.contains("no place")));
    }

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_found() {
        let error = "fn code(&self) -> &'static str {\n Self::A => \"lost\",\n}\n\
                     fn name(&self) {\n Self::A => \"other\",\n}\n";
        let missing = every_code_has_a_page(&Tree::of([("crates/a/src/error.rs", error)]));
        assert_eq!(missing.len(), 1);
        assert_eq!((missing[0].line, &*missing[0].path), (2, "crates/a/src/error.rs"));
        let both = [("crates/a/src/error.rs", error), ("docs/errors/lost.md", "")];
        assert_eq!(every_code_has_a_page(&Tree::of(both)), []);
        let unused = every_code_has_a_page(&Tree::of([("docs/errors/lost.md", "")]));
        assert_eq!(unused[0].what, "no error has this code");
    }

    #[test]
    fn a_link_must_lead_to_a_file_and_a_heading() {
        let check = |link: &str| {
            let text = format!("# Title\n\n[a]({link}) and `[b](code.md)`\n```\n[c](d)\n```\n");
            let other = "## S1: Atomic, *whole*\n## Twice\n## Twice\n";
            let files = [("docs/a.md", &*text), ("docs/b/c.md", other), ("d.md", "")];
            links_lead_somewhere(&Tree::of(files)).len()
        };
        for fine in [
            "b/c.md",
            "./b/c.md#s1-atomic-whole",
            "b/c.md#twice-1",
            "../d.md",
            "#title",
            "https://example.org/nowhere",
        ] {
            assert_eq!(check(fine), 0, "{fine}");
        }
        for broken in ["c.md", "../b/c.md", "b/c.md#s2", "#nothing"] {
            assert_eq!(check(broken), 1, "{broken}");
        }
    }

    #[test]
    fn code_that_differs_from_its_file_is_found() {
        let check = |source: &str, code: &str| {
            let text = format!("{QUOTATION}a.rs -->\n```rust\n{code}```\n");
            code_is_a_quotation(&Tree::of([("b.md", &text), ("a.rs", source)])).len()
        };
        assert_eq!(check("fn a() {}\nfn b() {}\n", "fn b() {}\n"), 0);
        assert_eq!(check("fn a() {}\n", "fn b() {}\n"), 1);
        assert_eq!(check("fn a() {}\n", ""), 1);
    }

    #[test]
    fn a_bank_that_is_missing_or_long_is_found() {
        let check = |lines: usize| {
            let text = format!("{QUOTATION}{BANK} -->\n```rust\n{}\n```\n", "a\n".repeat(lines));
            the_bank_is_short(&Tree::of([("README.md", &text)])).len()
        };
        assert_eq!(check(BANK_LINES_MAX), 0);
        assert_eq!(check(BANK_LINES_MAX + 1), 1);
        assert_eq!(the_bank_is_short(&Tree::of([("README.md", "")])).len(), 1);
    }
}
