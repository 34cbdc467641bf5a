use serde_json::{Value, json};

use crate::annals::{Place, Ran};
use crate::postgres::database;

fn report(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.json_lines().remove(0)
}

/// Every subscription saw what there is to see, and there is something.
fn all_is_seen(report: &Value, subscriptions: usize) {
    let nothing = json!({"count": 0, "first": null});
    let events = report["events"].as_u64().unwrap();
    assert!(events > 0, "{report}");
    assert_eq!((&report["version_gaps"], &report["positions_back"]), (&nothing, &nothing));
    let all = report["subscriptions"].as_array().unwrap();
    assert_eq!(all.len(), subscriptions);
    for one in all {
        for wrong in ["missed", "twice", "out_of_order", "not_in_log"] {
            assert_eq!(one[wrong], nothing, "{one}");
        }
        assert_eq!(one["seen"].as_u64(), Some(events), "{one}");
    }
}

#[test]
fn a_sound_database_under_load_passes_the_audit() {
    let (place, database) = (Place::new(), database());
    let store = format!("{}?schema=ledger", database.url());
    place.run(&["append", "a-1", "Opened", "--store", &store]).ok();
    let audit = ["audit", "subscriptions", "--store", &store, "--json"];
    let load = ["--for", "2s", "--load", "8", "--category", "audit"];
    let report_of_load = report(&place.run(&[&audit[..], &load].concat()));
    all_is_seen(&report_of_load, 3);
    assert_eq!(report_of_load["load"]["writers"], 8);
    assert_eq!(report_of_load["load"]["lost"], 0);
    let naive = &report_of_load["naive_poller"];
    let (seen, missed) = (naive["seen"].as_u64(), naive["missed"]["count"].as_u64());
    assert_eq!(seen.unwrap() + missed.unwrap(), report_of_load["events"].as_u64().unwrap());

    // From the beginning, without a load: what the first one left, and the event before it.
    let whole = ["--for", "1ms", "--from", "0", "--subscriptions", "1"];
    let of_whole = report(&place.run(&[&audit[..], &whole].concat()));
    all_is_seen(&of_whole, 1);
    assert_eq!(of_whole["events"].as_u64(), Some(report_of_load["events"].as_u64().unwrap() + 1));
    assert_eq!(of_whole["load"], Value::Null);
}

#[test]
fn a_sound_file_under_load_passes_the_audit() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let audit = ["audit", "subscriptions", "--for", "1s", "--load", "4", "--json"];
    let report = report(&place.run(&audit));
    all_is_seen(&report, 2);
    assert_eq!(report["naive_poller"], Value::Null);
}

/// Somebody else writes, as always in production.
#[test]
fn the_load_can_be_somebody_elses() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let writer = ["demo", "--store", "sqlite:annals.db", "--listen", "127.0.0.1:0", "--json"];
    let demo = place.start(&[&writer[..], &["--accounts", "20", "--rate", "500"]].concat());
    let ran = place.run(&["audit", "subscriptions", "--for", "1s", "--category", "account"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{ran:?}");
    assert!(!ran.stdout.contains("log: 0 events"), "{ran:?}");
    drop(demo);
}

#[test]
fn an_audit_of_nothing_says_so() {
    let place = Place::new();
    place.run(&["audit", "subscriptions"]).failed(1, "there is no store at annals.db");
    place.run(&["audit", "subscriptions", "--store", "memory:"]).failed(2, "in memory");
    place.run(&["audit", "subscriptions", "--for", "soon"]).failed(2, "10s");
    place.run(&["migrate"]).ok();
    let idle = place.run(&["audit", "subscriptions", "--for", "1ms"]);
    assert_eq!(idle.code, Some(0), "{idle:?}");
    assert!(idle.stderr.contains("--load writes"), "{idle:?}");
}

#[test]
fn ctrl_c_ends_the_watching_and_still_compares() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let mut audit =
        place.spawn(&["audit", "subscriptions", "--for", "1h", "--load", "2", "--json"]);
    place.wait_for_events(200);
    audit.signal("INT");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut audit.stdout, &mut line).unwrap();
    let report: Value = serde_json::from_str(&line).unwrap();
    all_is_seen(&report, 2);
    assert_eq!(audit.end().0, Some(0));
}
