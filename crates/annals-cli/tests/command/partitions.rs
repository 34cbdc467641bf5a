//! A log in partitions, from the shell.

use annals_scratch::Database;

use crate::annals::Place;
use crate::postgres::block_on;

#[test]
fn a_log_is_split_listed_and_archived() {
    let (place, database) = (Place::new(), block_on(Database::create()));
    let run = |arguments: &[&str]| place.run(&[arguments, &["--store", database.url()]].concat());
    run(&["append", "a-1", "Opened"]).ok();
    let ran = run(&["partitions"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""));
    assert!(ran.stderr.contains("one table"), "{ran:?}");
    run(&["partitions", "extend"]).failed(1, "the log is not partitioned");
    run(&["partitions", "start", "--every", "0"]).failed(2, "--every");
    run(&["partitions", "start", "--every", "2"]).ok();
    run(&["partitions", "start", "--every", "3"]).failed(1, "partitioned already, every 2 groups");
    for _ in 0..3 {
        run(&["append", "a-1", "Opened"]).ok();
    }
    run(&["partitions", "extend"]).ok();
    let ran = run(&["partitions"]).ok();
    let states: Vec<_> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>())
        .collect();
    assert_eq!(states[..3], [["events_0", "closed"], ["events_1", "closed"], ["events_2", "open"]]);
    let lines = run(&["partitions", "--json"]).ok().json_lines();
    assert_eq!(lines[0]["name"], "events_0");
    assert_eq!(lines[0]["after"], 0);
    assert_eq!(lines[0]["up_to"], lines[1]["after"]);
    assert_eq!(lines[0]["tablespace"], "pg_default");
    run(&["partitions", "archive", "events_1"]).ok();
    run(&["partitions", "archive", "events_2"]).failed(1, "events_2 is open");
    run(&["partitions", "archive", "events_99"]).failed(2, "no partition events_99");
    run(&["partitions", "archive", "tags"]).failed(2, "like events_0");
    assert_eq!(run(&["read", "a-1", "--json"]).ok().json_lines().len(), 4);
    run(&["doctor"]).ok();
}

#[test]
fn a_file_has_no_partitions() {
    let place = Place::new();
    place.run(&["partitions", "--store", "memory:"]).failed(2, "partitions are PostgreSQL's");
}
