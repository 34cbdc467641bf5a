//! Snapshots from the shell.

use annals_core::{
    Clock, EventId, Fingerprint, Snapshot, SnapshotStore, StreamId, SystemClock, Timestamp, Version,
};
use annals_postgres::PostgresStore;
use annals_sqlite::SqliteStore;
use serde_json::json;

use crate::annals::Place;
use crate::postgres::{block_on, database};

/// Of three streams in two categories, the first by an older build too.
const SAVED: [(&str, &str, &str); 4] = [
    ("account-1", "account.v1", "2026-01-01T00:00:00Z"),
    ("account-1", "account.v2", "2026-02-01T00:00:00Z"),
    ("account-2", "account.v2", "2026-03-01T00:00:00Z"),
    ("order-1", "order.v1", "2026-03-01T00:00:00.25Z"),
];

async fn save(store: &dyn SnapshotStore) {
    for (number, (stream, fold, taken_at)) in (1_000..).zip(SAVED) {
        let snapshot = Snapshot {
            stream: StreamId::from_static(stream),
            fold: Fingerprint::from_static(fold),
            version: Version::new(number),
            last_event: EventId::from_bytes([7; 16]),
            taken_at: taken_at.parse().unwrap(),
            state: vec![b'x'; 12_345].into(),
        };
        store.save_snapshot(snapshot).await.unwrap();
    }
}

/// The same from both kinds of store.
fn lists_and_drops(place: &Place, store: &[&str]) {
    let run = |arguments: &[&str]| place.run(&[&["snapshots"], arguments, store].concat());
    let names = |arguments: &[&str]| -> Vec<String> {
        let listed = run(&[&["list", "--json"], arguments].concat()).json_lines();
        listed.iter().map(|info| format!("{} {}", info["stream"], info["fold"])).collect()
    };
    let listed = run(&["list"]).ok().stdout;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[3],
        "      12,345 bytes  2026-03-01T00:00:00.25Z      order.v1  order-1@1,003"
    );
    let first = &run(&["list", "--json", "--stream", "account-1"]).ok().json_lines()[0];
    let expected = json!({
        "stream": "account-1", "fold": "account.v1", "version": 1_000,
        "taken_at": "2026-01-01T00:00:00Z", "bytes": 12_345,
    });
    assert_eq!(*first, expected);
    assert_eq!(names(&["--category", "order"]), ["\"order-1\" \"order.v1\""]);
    assert_eq!(names(&["--fold", "account.v2"]).len(), 2);
    assert_eq!(names(&["--every-fold-but", "account.v2"]).len(), 2);
    assert_eq!(names(&["--older-than", "2026-03-01T00:00:00Z"]).len(), 2);
    assert_eq!(names(&["--older-than", "0s"]).len(), 4);
    assert_eq!(names(&["--older-than", "36500d"]).len(), 0);
    let none = run(&["list", "--stream", "none-1"]);
    assert_eq!((none.code, &*none.stdout), (Some(0), ""));
    assert_eq!(none.stderr, "there are no such snapshots\n");

    run(&["drop"]).failed(2, "this would drop every snapshot");
    run(&["drop", "--all", "--stream", "account-1"]).failed(2, "--all");
    assert_eq!(names(&[]).len(), 4, "nothing was dropped");
    let old = ["drop", "--category", "account", "--every-fold-but", "account.v2"];
    let told = run(&old).ok().stdout;
    assert_eq!(
        told,
        "1 snapshot was dropped; it is made again when its aggregate is next loaded\n"
    );
    let told = run(&old).ok().stdout;
    assert_eq!(told, "there are no such snapshots: nothing was dropped\n");
    let dropped = &run(&["drop", "--stream", "order-1", "--json"]).ok().json_lines()[0];
    assert_eq!(*dropped, json!({ "dropped": 1 }));
    assert_eq!(names(&[]), ["\"account-1\" \"account.v2\"", "\"account-2\" \"account.v2\""]);
    let told = run(&["drop", "--all"]).ok().stdout;
    assert_eq!(
        told,
        "2 snapshots were dropped; they are made again when their aggregates are next loaded\n"
    );
}

#[test]
fn those_in_a_file_are_listed_and_dropped() {
    let place = Place::new();
    place.run(&["snapshots", "list"]).failed(1, "there is no store at annals.db");
    block_on(async {
        let store = SqliteStore::open(place.path().join("annals.db")).unwrap();
        save(&store).await;
        store.close().await;
    });
    lists_and_drops(&place, &[]);
}

#[test]
fn those_in_postgresql_are_listed_and_dropped() {
    let (place, database) = (Place::new(), database());
    let store = ["--store", database.url()];
    let list = [&["snapshots", "list"], &store[..]].concat();
    place.run(&list).failed(1, "run `annals migrate` first");
    block_on(async {
        let store = PostgresStore::connect(database.url()).await.unwrap();
        save(&store).await;
        store.close().await;
    });
    lists_and_drops(&place, &store);
}

/// An age is counted from now.
#[test]
fn those_older_than_an_age_are_dropped() {
    let place = Place::new();
    let hours_ago =
        |hours: i64| Timestamp::from_micros(SystemClock.now().as_micros() - hours * 3_600_000_000);
    block_on(async {
        let store = SqliteStore::open(place.path().join("annals.db")).unwrap();
        for (stream, hours) in [("a-1", 1), ("a-2", 3), ("a-3", 30)] {
            let snapshot = Snapshot {
                stream: StreamId::from_static(stream),
                fold: Fingerprint::from_static("a.v1"),
                version: Version::FIRST,
                last_event: EventId::from_bytes([7; 16]),
                taken_at: hours_ago(hours),
                state: "{}".into(),
            };
            store.save_snapshot(snapshot).await.unwrap();
        }
        store.close().await;
    });
    let left = |age: &str| {
        place.run(&["snapshots", "drop", "--older-than", age]).ok();
        place.run(&["snapshots", "list", "--json"]).ok().json_lines().len()
    };
    assert_eq!(["2d", "1d", "121m"].map(left), [3, 2, 1]);
}

#[test]
fn a_log_in_memory_keeps_none() {
    let place = Place::new();
    for arguments in [&["list"][..], &["drop", "--all"]] {
        let ran = place.run(&[&["snapshots"], arguments, &["--store", "memory:"]].concat());
        ran.failed(2, "a log in memory keeps no snapshots");
    }
}
