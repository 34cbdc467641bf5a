use serde_json::Value;

use crate::annals::Place;
use crate::migrate::psql;
use crate::postgres::database;

#[test]
fn a_sound_log_has_no_problem() {
    let (place, database) = (Place::new(), database());
    let doctor = ["doctor", "--store", database.url()];
    place.run(&["migrate", "--store", database.url()]).ok();
    let told = place.run(&doctor).ok().stdout;
    for line in ["ok       server ", "ok       schema ", "ok       watermark "] {
        assert!(told.contains(line), "{told}");
    }
    let findings = place.run(&[&doctor[..], &["--json"]].concat()).ok().json_lines();
    assert!(findings.len() > 15, "{findings:?}");
    assert!(findings.iter().all(|finding| finding["severity"] != "problem"));
}

#[test]
fn a_problem_is_told_with_what_to_run() {
    let (place, database) = (Place::new(), database());
    let doctor = ["doctor", "--store", database.url()];
    let missing = place.run(&doctor);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.ends_with("has a problem\n"), "{missing:?}");
    assert!(missing.stdout.contains("`annals migrate` makes the tables"), "{missing:?}");

    place.run(&["migrate", "--store", database.url()]).ok();
    psql(&database, "DROP TRIGGER tags_are_immutable ON annals.tags");
    let broken = place.run(&doctor);
    assert_eq!(broken.code, Some(1));
    let statement = broken.stdout.lines().find(|line| line.contains("CREATE TRIGGER")).unwrap();
    assert!(statement.trim().starts_with("CREATE TRIGGER tags_are_immutable"), "{statement}");
    let json = place.run(&[&doctor[..], &["--json"]].concat());
    assert_eq!(json.code, Some(1));
    let problems: Vec<Value> = json.json_lines();
    let problems: Vec<_> = problems.iter().filter(|line| line["severity"] == "problem").collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["subject"], "trigger tags_are_immutable");

    psql(&database, statement);
    place.run(&doctor).ok();
}

#[test]
fn a_file_is_examined() {
    let place = Place::new();
    place.run(&["doctor"]).failed(1, "there is no store at annals.db");
    place.run(&["doctor", "--store", "memory:"]).failed(2, "needs no doctor");
    place.run(&["append", "a-1", "Opened"]).ok();
    let sound = place.run(&["doctor"]).ok().stdout;
    assert!(sound.contains("1 events in 1 streams"), "{sound}");
    std::fs::write(place.path().join("text.db"), "not a database at all\n").unwrap();
    let text = place.run(&["doctor", "--store", "sqlite:text.db", "--json"]);
    assert_eq!(text.code, Some(1));
    assert_eq!(text.json_lines()[0]["severity"], "problem");
}
