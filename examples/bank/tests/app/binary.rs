//! The program as it is used: its output, its refusals, its exit codes.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `bank` in a directory; a line is split at its spaces.
fn run(directory: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bank"))
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_remove("BANK_STORE")
        .output()
        .expect("the binary was built with this test")
}

#[track_caller]
fn stdout(directory: &Path, line: &str) -> String {
    let output = run(directory, line);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{line}: {stderr}");
    assert_eq!(stderr, "", "{line}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs what must fail, and returns its exit code and what it says.
#[track_caller]
fn failure(directory: &Path, line: &str) -> (Option<i32>, String) {
    let output = run(directory, line);
    assert_eq!(output.stdout, b"", "{line}");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn an_account_lives_in_a_file_from_run_to_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let bank = directory.path();
    assert_eq!(stdout(bank, "open ACC_123 --owner Ada"), "ACC_123 holds 0.00 (version 1)\n");
    stdout(bank, "deposit ACC_123 100");
    assert_eq!(stdout(bank, "withdraw ACC_123 80.50"), "ACC_123 holds 19.50 (version 3)\n");

    let (code, said) = failure(bank, "withdraw ACC_123 30");
    assert_eq!((code, &*said), (Some(1), "bank: only 19.50 is in the account\n"));
    assert_eq!(stdout(bank, "balance ACC_123"), "ACC_123 holds 19.50 (version 3)\n");
    assert_eq!(stdout(bank, "balance ACC_999"), "ACC_999 is not open\n");

    assert_eq!(
        stdout(bank, "balance ACC_123 --version 2 --json"),
        "{\"account\":\"ACC_123\",\"balance\":10000,\"version\":2}\n"
    );
    assert_eq!(
        stdout(bank, "balance ACC_123 --at 1999-12-31T23:59:59Z --json"),
        "{\"account\":\"ACC_123\",\"balance\":null,\"version\":0}\n"
    );
    assert!(bank.join("bank.db").exists());
}

#[test]
fn history_tells_the_moments_that_balance_can_be_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let bank = directory.path();
    for line in ["open ACC --owner Ada", "deposit ACC 1", "deposit ACC 2"] {
        stdout(bank, &format!("{line} --store sqlite:other.db"));
    }
    let history = stdout(bank, "history ACC --json --store sqlite:other.db");
    let history: Vec<serde_json::Value> =
        history.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let types: Vec<_> = history.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["AccountOpened", "MoneyDeposited", "MoneyDeposited"]);
    assert_eq!(history[2]["data"]["amount"], 200);

    let moment = history[1]["recorded_at"].as_str().expect("a moment");
    let line = format!("balance ACC --at {moment} --store sqlite:other.db");
    assert_eq!(stdout(bank, &line), "ACC holds 1.00 (version 2)\n");

    let lines = stdout(bank, "history ACC --store sqlite:other.db");
    assert!(lines.lines().next().expect("a line").ends_with("opened by Ada"), "{lines}");
}

#[test]
fn wrong_usage_says_what_is_right() {
    let directory = tempfile::tempdir().expect("a directory");
    let bank = directory.path();
    for (line, hint) in [
        ("deposit ACC 0", "an amount is more than nothing"),
        ("deposit ACC 1.234", "write an amount like 100 or 12.50"),
        ("balance ACC --at yesterday", "write it like 2026-03-01T12:00:00Z"),
        ("balance ACC --version 1 --at 2026-03-01T12:00:00Z", "cannot be used with"),
        ("history ACC --store postgres://host", "write it as sqlite:PATH or memory:"),
    ] {
        let (code, said) = failure(bank, line);
        assert_eq!(code, Some(2), "{line}: {said}");
        assert!(said.contains(hint), "{line}: {said}");
    }
    let (code, said) = failure(bank, "deposit ACC 1 --store memory:");
    assert_eq!((code, &*said), (Some(1), "bank: the account is not open; open it first\n"));
    let (code, said) = failure(bank, "history ACC --store sqlite:no/where/bank.db");
    assert_eq!(code, Some(1));
    assert!(said.contains("\n  because "), "the reason is told too: {said}");
}

#[test]
fn without_a_command_it_tells_a_story_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let story = stdout(directory.path(), "");
    for part in [
        "refused: only 50.00 is in the account",
        "   2  2026-03-02T09:00:00Z  deposited 100.00",
        "    100.00  at 2026-03-02T21:00:00Z",
        "cargo run -q -p bank -- withdraw",
    ] {
        assert!(story.contains(part), "{part:?} is not in\n{story}");
    }
    let left = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(left, 0);
}

/// The lines at the end of the story can be pasted, and do what the story says.
#[test]
fn what_the_story_says_to_try_next_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let bank = directory.path();
    let story = stdout(bank, "");
    let lines: Vec<_> = story
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cargo run -q -p bank -- "))
        .collect();
    let done: Vec<_> = lines.iter().map(|line| run(bank, line).status.success()).collect();
    assert_eq!(done, [true, true, true, false, true, true, true], "{lines:?}");
}
