//! Rows are listed in the order of their keys, in pages.

use annals_core::{ListRows, RowKey};

use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{HOSTILE, Probe, must, name, to, written};

async fn with_keys(side: &Probe, keys: &[&str]) {
    let lease = side.working("a").await;
    // Neither rising nor falling.
    let count = keys.len();
    let mixed = (0..count).map(|number| (number * 7 + 3) % count);
    let mut changes: Vec<_> = mixed.map(|number| written(keys[number], "1")).collect();
    changes.extend(keys.iter().map(|key| written(*key, "1")));
    must("to commit", side.commit_rows(changes, &to(&lease, 1))).await;
}

async fn listed(side: &Probe, list: ListRows) -> Vec<String> {
    let rows = must("rows", side.rows(&name("a"), list)).await;
    rows.into_iter().map(|row| row.key.to_string()).collect()
}

pub(in crate::read_side) async fn rows_are_listed_in_the_order_of_their_bytes(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mut keys = vec![
        "",
        " ",
        "A",
        "B",
        "Z",
        "a",
        "a b",
        "a-b",
        "a/b",
        "a_b",
        "aB",
        "ab",
        "b",
        "\u{7f}",
        "\u{e9}",
        "e",
        "e\u{301}",
        "\u{ffff}",
        "\u{1f980}",
        "10",
        "9",
        "\u{1}",
    ];
    keys.extend(HOSTILE);
    keys.sort_unstable();
    keys.dedup();
    with_keys(&side, &keys).await;
    let all = ListRows { limit: 1_000, ..ListRows::default() };
    assert_eq!(listed(&side, all).await, keys);
    for (number, key) in keys.iter().enumerate() {
        let found = must("a row", side.row(&name("a"), &RowKey::new(*key))).await;
        assert_eq!(found.map(|row| row.key.to_string()).as_deref(), Some(*key));
        let list = ListRows { after: Some((*key).into()), limit: 1_000, ..ListRows::default() };
        assert_eq!(listed(&side, list).await, keys[number + 1..], "behind {key:?}");
    }
}

pub(in crate::read_side) async fn rows_are_listed_by_prefix(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let prefixes = [
        "%",
        "_",
        "\\",
        "'",
        "a",
        "A",
        "a%",
        "a_",
        "a\\",
        "a'",
        "\u{e9}",
        "\u{10ffff}",
        "a\u{10ffff}",
        "\u{7f}",
        "\u{d7ff}",
        "*",
        "?",
        "[a]",
        "a\u{ffff}",
    ];
    let mut keys: Vec<String> = vec![String::new(), "e".into(), "z".into()];
    for prefix in prefixes {
        keys.extend(["", "x", "%", "\\", "\u{10ffff}"].map(|end| format!("{prefix}{end}")));
    }
    keys.sort_unstable();
    keys.dedup();
    with_keys(&side, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for prefix in prefixes.into_iter().chain(["", "nothing", "ax", "%%"]) {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let list = ListRows { prefix: prefix.into(), limit: 1_000, ..ListRows::default() };
        assert_eq!(listed(&side, list).await.iter().collect::<Vec<_>>(), expected, "{prefix:?}");
    }
}

pub(in crate::read_side) async fn rows_are_listed_in_pages(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let numbered = |prefix: &'static str| (0..25).map(move |n| format!("{prefix}{n:02}"));
    let keys: Vec<String> = ["a", "b", "c"].into_iter().flat_map(numbered).collect();
    with_keys(&side, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (prefix, limit) in [("", 1), ("", 10), ("b", 10), ("b", 25), ("b", 26), ("b0", 3)] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|key: &String| RowKey::new(&**key));
            let list = ListRows { after, prefix: prefix.into(), limit };
            let page = listed(&side, list).await;
            assert!(page.len() <= limit, "at most {limit} are asked for: {page:?}");
            if page.is_empty() {
                break;
            }
            found.extend(page);
            assert!(found.len() <= expected.len(), "there are fewer: {found:?}");
        }
        assert_eq!(found, expected, "{prefix:?} by {limit}");
    }
    let list = |after: &str, prefix: &str, limit| ListRows {
        after: Some(after.into()),
        prefix: prefix.into(),
        limit,
    };
    assert_eq!(listed(&side, list("a99", "", 2)).await, ["b00", "b01"], "no such key");
    assert_eq!(listed(&side, list("a00", "b", 2)).await, ["b00", "b01"], "before the prefix");
    assert_eq!(listed(&side, list("c00", "b", 2)).await, [""; 0], "behind the prefix");
    assert_eq!(listed(&side, list("c24", "", 2)).await, [""; 0], "behind the last");
    assert_eq!(listed(&side, ListRows::default()).await, [""; 0], "none are asked for");
    let all = ListRows { limit: usize::MAX, ..ListRows::default() };
    assert_eq!(listed(&side, all).await, keys);
}
