//! The lock, and fixtures of old events.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use annals::schema::{self, Breaking, Lock, Schema};
use annals::{Event, Part, Upcasters};
use tempfile::TempDir;

/// Programs with events, one module for each version of them.
macro_rules! program {
    ($name:ident { $($events:tt)* } $(upcasters $upcasters:expr)?) => {
        #[allow(dead_code, reason = "events to be described")]
        mod $name {
            use super::*;

            #[derive(Debug, Event)]
            #[event(upcasters = upcasters)]
            pub(super) enum CustomerEvent { $($events)* }

            fn upcasters() -> Upcasters {
                Upcasters::new() $(.and(&$upcasters))?
            }
        }
    };
}

program!(first {
    Registered { name: String },
    AddressUpdated { user_id: String, street: String },
    Moved,
});
program!(wider {
    Registered { name: String, #[serde(default)] vip: bool },
    AddressUpdated { user_id: String, street: String, floor: Option<u8> },
    Moved,
    Left,
});
program!(changed_in_place {
    Registered { name: String },
    AddressUpdated { customer_id: String, street: String, country: String },
    Moved,
});
program!(without_a_way {
    Registered { name: String },
    #[event(version = 3)]
    AddressUpdated { customer_id: String, street: String, country: String },
    WasMoved,
} upcasters Upcasters::new().upcast("AddressUpdated", 1, |_| {}).rename("Moved", "Gone"));
program!(without_its_version {
    Registered { name: String },
    AddressUpdated { user_id: String, street: String },
    Moved,
} upcasters Upcasters::new().upcast("AddressUpdated", 1, |_| {}));
program!(with_ways {
    Registered { name: String },
    #[event(version = 2)]
    AddressUpdated { customer_id: String, street: String, country: String },
    Opened,
} upcasters Upcasters::new()
    .upcast("AddressUpdated", 1, |data| {
        if let Some(user) = data.remove("user_id") {
            data.insert("customer_id".into(), user);
        }
        data.entry("country").or_insert("USA".into());
    })
    .split("Moved", 1, &["Left", "Opened"], |_| vec![Part::new("Opened", 1, serde_json::json!({}))])
    .drop_type("Left"));

program!(dropping {
    Registered { name: String },
} upcasters Upcasters::new().drop_type("Moved").drop_type("AddressUpdated"));

fn schema<E: Event>() -> Schema {
    Schema::new().with::<E>()
}

fn first_lock() -> Lock {
    schema::<first::CustomerEvent>().locked(&Lock::new())
}

fn breaking<E: Event>() -> Vec<Breaking> {
    schema::<E>().check(&first_lock()).expect_err("it cannot be read")
}

fn panic_of(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("it must not pass");
    panic.downcast_ref::<String>().expect("it says why").clone()
}

#[test]
fn what_is_locked_may_become_wider_and_nothing_else() {
    let lock = first_lock();
    schema::<first::CustomerEvent>().check(&lock).unwrap();
    schema::<wider::CustomerEvent>().check(&lock).unwrap();
    schema::<with_ways::CustomerEvent>().check(&lock).unwrap();
    schema::<dropping::CustomerEvent>().check(&lock).unwrap();

    let wider = schema::<wider::CustomerEvent>().locked(&lock);
    let back = schema::<first::CustomerEvent>().check(&wider).unwrap_err();
    let types: Vec<_> = back.iter().map(|breaking| breaking.event_type.as_str()).collect();
    assert_eq!(types, ["AddressUpdated", "Left", "Registered"]);
}

#[test]
fn a_shape_changed_in_place_shows_the_upcaster_to_write() {
    let breaking = breaking::<changed_in_place::CustomerEvent>();
    assert_eq!(breaking.len(), 1, "{breaking:#?}");
    let expected = r#"AddressUpdated: version 1 is locked, and has changed:
  - `user_id` is gone; it was a text
  - `country` is new, and required: a text
  - `customer_id` is new, and required: a text
Events stored in the locked shape stay as they are. Give the new one a version of its own, `#[event(version = 2)]` above the variant, and say in the upcasters of its enum what becomes of the others:

    .upcast("AddressUpdated", 1, |data| {
        if let Some(value) = data.remove("user_id") {
            data.insert("customer_id".into(), value);
        }
        data.insert("country".into(), todo!("a text"));
    })
"#;
    assert_eq!(breaking[0].to_string(), expected);
    assert_eq!((breaking[0].version, breaking[0].changes.len()), (1, 3));
}

#[test]
fn a_way_must_lead_to_what_the_program_knows() {
    let said: Vec<_> =
        breaking::<without_a_way::CustomerEvent>().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("lead from it to AddressUpdated version 2"), "{said:#?}");
    assert!(said[1].contains("lead from it to Gone version 1"), "{said:#?}");

    let said = breaking::<without_its_version::CustomerEvent>();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].to_string().contains("write `#[event(version = 2)]`"), "{said:#?}");

    #[derive(Event)]
    enum Other {
        #[event(version = 2)]
        AddressUpdated { country: String },
    }
    let said: Vec<_> = breaking::<Other>().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[0].contains("no upcaster leads from it"), "{said:#?}");
    assert!(said[0].contains(r#".upcast("AddressUpdated", 1, |data| {"#), "{said:#?}");
    assert!(said[1].contains(r#".drop_type("Moved")"#), "{said:#?}");
}

#[test]
fn an_older_program_and_circles_are_told() {
    let newer = schema::<with_ways::CustomerEvent>().locked(&Lock::new());
    let said = schema::<first::CustomerEvent>().check(&newer).unwrap_err();
    let older = said.iter().find(|said| said.event_type == "AddressUpdated").unwrap();
    assert!(older.to_string().contains("version 1, which is older"), "{older}");

    #[derive(Event)]
    #[event(upcasters = around)]
    enum Round {
        Turned,
    }
    fn around() -> Upcasters {
        Upcasters::new().rename("Turned", "Spun").rename("Spun", "Turned")
    }
    let said = schema::<Round>().check(&Lock::new()).unwrap_err();
    assert!(said[0].to_string().contains("in a circle"), "{said:?}");
}

#[test]
fn a_locked_tag_stays() {
    program!(tagged {
        Registered { #[event(tag = "name")] name: String, #[event(subject)] by: u32 },
    });
    program!(untagged {
        Registered { name: String, #[event(subject)] by: u32 },
    });
    program!(untagged_and_changed {
        Registered { first_name: String, #[event(subject)] by: u32 },
    });
    program!(untagged_at_the_next {
        #[event(version = 2)]
        Registered { name: String, #[event(subject)] by: u32 },
    } upcasters Upcasters::new().upcast("Registered", 1, |_| {}));
    let lock = schema::<tagged::CustomerEvent>().locked(&Lock::new());
    assert_eq!(Lock::from_json(&lock.to_json()).unwrap(), lock);
    let same = Schema::from_json(&schema::<tagged::CustomerEvent>().to_json()).unwrap();
    same.check(&lock).unwrap();

    let lost = schema::<untagged::CustomerEvent>().check(&lock).unwrap_err();
    assert_eq!((lost.len(), lost[0].changes.len()), (1, 1), "{lost:#?}");
    assert_eq!(lost[0].changes[0].what, "has no tag `name` any more");
    assert!(lost[0].to_string().contains("has lost tags:\n  - `name`\n"), "{}", lost[0]);
    assert!(lost[0].to_string().contains(r#".upcast("Registered", 1, |_| {})"#), "{}", lost[0]);
    let lost = schema::<untagged_and_changed::CustomerEvent>().check(&lock).unwrap_err();
    assert!(lost[0].to_string().contains("`the data` has no tag `name` any more"), "{}", lost[0]);

    schema::<untagged_at_the_next::CustomerEvent>().check(&lock).unwrap();
    let untagged = schema::<untagged::CustomerEvent>().locked(&Lock::new());
    schema::<tagged::CustomerEvent>().check(&untagged).unwrap();

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.lock.json");
    fs::write(&path, untagged.to_json()).unwrap();
    let panic = panic_of(|| schema::check_lock(&path, &schema::<tagged::CustomerEvent>()));
    assert!(panic.contains("Registered version 1 has more tags"), "{panic}");
}

#[test]
fn what_an_old_event_is_split_into_must_be_read_itself() {
    program!(splitting {
        Registered { name: String },
        AddressUpdated { user_id: String, street: String },
    } upcasters Upcasters::new()
        .split("Moved", 1, &["Left"], |_| vec![Part::new("Left", 1, serde_json::json!({}))])
        .upcast("Left", 1, |_| {}));
    let said = breaking::<splitting::CustomerEvent>();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].to_string().contains("split into Left, which"), "{said:#?}");

    program!(splitting_again {
        Registered { name: String },
        AddressUpdated { user_id: String, street: String },
    } upcasters Upcasters::new()
        .split("Moved", 1, &["Left", "Gone"], |_| vec![])
        .split("Left", 3, &["Gone", "Quit"], |_| vec![])
        .rename("Quit", "Registered")
        .upcast("Gone", 1, |_| {})
        .drop_type("Gone"));
    schema::<splitting_again::CustomerEvent>().check(&first_lock()).unwrap();
}

#[test]
fn an_upcaster_of_all_versions_is_not_answered_with_another_version() {
    program!(all_renamed {
        Registered { name: String },
        AddressUpdated { user_id: String, street: String },
        Moved,
    } upcasters Upcasters::new().rename("Registered", "Moved").drop_type("Moved"));
    let said = schema::<all_renamed::CustomerEvent>().check(&first_lock()).unwrap_err();
    assert_eq!(said.len(), 2, "{said:#?}");
    let (dropped, renamed) = (said[0].to_string(), said[1].to_string());
    assert!(dropped.contains(r#"`.drop_type("Moved")` is about every version"#), "{dropped}");
    assert!(dropped.contains(r#".split("Moved", "#), "{dropped}");
    assert!(renamed.contains(r#"`.rename("Registered", "Moved")` is about every"#), "{renamed}");
    assert!(!dropped.contains("#[event(version"), "{dropped}");
}

#[test]
fn two_enums_agree_on_what_they_share() {
    let both = Schema::new().with::<first::CustomerEvent>().with::<first::CustomerEvent>();
    assert_eq!(both.to_json(), schema::<first::CustomerEvent>().to_json());
    let panic = panic_of(|| {
        drop(Schema::new().with::<first::CustomerEvent>().with::<wider::CustomerEvent>());
    });
    assert!(panic.contains("Registered version 1 in different shapes"), "{panic}");
}

#[test]
fn texts_are_the_same_each_time_and_come_back() {
    let with_ways = schema::<with_ways::CustomerEvent>();
    let text = with_ways.to_json();
    assert_eq!(text, schema::<with_ways::CustomerEvent>().to_json());
    let read = Schema::from_json(&text).unwrap();
    assert_eq!(read.to_json(), text);
    read.check(&first_lock()).unwrap();

    let lock = first_lock();
    assert_eq!(Lock::from_json(&lock.to_json()).unwrap(), lock);
    let shapes: Vec<_> = lock.shapes().collect();
    assert_eq!(shapes, [("AddressUpdated", 1), ("Moved", 1), ("Registered", 1)]);
    assert!(lock.contains("Moved", 1) && !lock.contains("Moved", 2));
    let expected = r#"{
  "events": {
    "Moved": {
      "1": {
        "type": "object"
      }
    }
  }
}
"#;
    #[derive(Event)]
    enum Short {
        /// Said of it, and not of its data.
        Moved,
    }
    assert_eq!(schema::<Short>().locked(&Lock::new()).to_json(), expected);
}

#[test]
fn a_lock_that_is_not_there_or_lacks_something_says_how_to_go_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.lock.json");
    let check = || schema::check_lock(&path, &schema::<wider::CustomerEvent>());
    let panic = panic_of(check);
    assert!(panic.contains("make it with `ANNALS_SCHEMA=update cargo test`"), "{panic}");
    assert!(!path.exists());

    fs::write(&path, first_lock().to_json()).unwrap();
    let panic = panic_of(check);
    for line in [
        "AddressUpdated version 1 has become wider",
        "Left version 1 is new",
        "Registered version 1 has become wider",
        "Add it with `ANNALS_SCHEMA=update cargo test`",
    ] {
        assert!(panic.contains(line), "{panic}");
    }
    assert!(!panic.contains("Moved"), "{panic}");

    fs::write(&path, "<<<<<<< ours").unwrap();
    assert!(panic_of(check).contains("is not a lock"), "{}", panic_of(check));
}

/// Run by the next test, in a process with an environment of its own.
#[test]
fn checks_the_lock_that_it_is_told() {
    let Some(path) = std::env::var_os("LOCK_OF_TEST") else { return };
    match std::env::var("PROGRAM_OF_TEST").unwrap().as_str() {
        "first" => schema::check_lock(path, &schema::<first::CustomerEvent>()),
        "broken" => schema::check_lock(path, &schema::<changed_in_place::CustomerEvent>()),
        _ => schema::check_lock(path, &schema::<with_ways::CustomerEvent>()),
    }
}

#[test]
fn an_update_adds_what_is_new_and_never_takes_away() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.lock.json");
    let run = |program: &str, asked: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["schema::checks_the_lock_that_it_is_told", "--exact", "--nocapture"])
            .env("LOCK_OF_TEST", &path)
            .env("PROGRAM_OF_TEST", program)
            .env("ANNALS_SCHEMA", asked)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    assert!(!run("first", "").0, "there is none");
    assert!(run("first", "update").0);
    assert_eq!(fs::read_to_string(&path).unwrap(), first_lock().to_json());
    assert!(run("first", "").0);

    let (passed, said) = run("broken", "update");
    assert!(!passed && said.contains("`user_id` is gone"), "{said}");
    assert!(said.contains("schema.rs"), "it is told where the test is: {said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), first_lock().to_json());

    assert!(!run("with_ways", "").0, "it is out of date");
    assert!(run("with_ways", "update").0);
    let lock = Lock::from_json(&fs::read_to_string(&path).unwrap()).unwrap();
    let shapes: Vec<_> = lock.shapes().collect();
    let all = [
        ("AddressUpdated", 1),
        ("AddressUpdated", 2),
        ("Moved", 1),
        ("Opened", 1),
        ("Registered", 1),
    ];
    assert_eq!(shapes, all);

    let (passed, said) = run("with_ways", "yes");
    assert!(!passed && said.contains("not to `update`"), "{said}");
}

/// A directory with a lock and these fixtures.
fn fixtures(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let lock = schema::<with_ways::CustomerEvent>().locked(&first_lock());
    fs::write(directory.path().join("events.lock.json"), lock.to_json()).unwrap();
    fs::create_dir(directory.path().join("events")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join("events").join(name), text).unwrap();
    }
    directory
}

fn check_fixtures(directory: &Path) {
    schema::check_fixtures(
        directory.join("events"),
        directory.join("events.lock.json"),
        &schema::<with_ways::CustomerEvent>(),
    );
}

/// As `annals read --json` writes it.
const OLD: &str = r#"{"position":1,"stream":"customer-c1","version":1,
    "id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"AddressUpdated","schema_version":1,
    "data":{"user_id":"c1","street":"Elm St 1"},"metadata":{},"tags":[],
    "occurred_at":"2026-01-01T00:00:00Z","recorded_at":"2026-01-01T00:00:00Z"}"#;

const ALL: [(&str, &str); 5] = [
    ("address-updated.1.json", OLD),
    (
        "address-updated.2.json",
        r#"{"type":"AddressUpdated","schema_version":2,"data":{"customer_id":"c1","street":"Elm St 1","country":"USA"}}"#,
    ),
    ("moved.json", r#"{"type":"Moved"}"#),
    ("opened.json", r#"{"type":"Opened","data":{}}"#),
    ("registered.json", r#"{"type":"Registered","data":{"name":"Ada"}}"#),
];

#[test]
fn fixtures_of_everything_that_was_ever_stored_are_read() {
    let directory = fixtures(&ALL);
    fs::write(directory.path().join("events/README.md"), "Events as they were stored.").unwrap();
    check_fixtures(directory.path());
}

#[test]
fn a_fixture_that_cannot_be_read_is_named_with_the_reason() {
    let faults = [
        (r#"{"type":"Registered","data":{}}"#, "missing field `name`"),
        (r#"{"type":"Registered","schema_version":4,"data":{}}"#, "is not in the lock"),
        (r#"{"type":"Registered","data_base64":"AA==","content_type":"text/plain"}"#, "not JSON"),
        (r#"{"types":"Registered"}"#, "is not an event"),
    ];
    for (text, why) in faults {
        let mut files = ALL;
        files[4].1 = text;
        let directory = fixtures(&files);
        let panic = panic_of(|| check_fixtures(directory.path()));
        assert!(panic.contains("registered.json") && panic.contains(why), "{panic}");
        assert!(!panic.contains("opened.json"), "{panic}");
    }
}

#[test]
fn a_fixture_that_becomes_what_no_enum_knows_is_named() {
    program!(leading_away {
        Registered { name: String },
        Opened,
    } upcasters Upcasters::new().rename("Moved", "Gone").drop_type("AddressUpdated"));
    let directory = fixtures(&ALL);
    let check = |schema: &Schema| {
        let at = |name| directory.path().join(name);
        schema::check_fixtures(at("events"), at("events.lock.json"), schema);
    };
    let schema = schema::<leading_away::CustomerEvent>();
    let panic = panic_of(|| check(&schema));
    assert!(panic.contains("moved.json: it is read as Gone version 1, which no enum"), "{panic}");
    assert_eq!(panic.matches(".json").count(), 1, "{panic}");

    #[derive(Event)]
    enum Others {
        Gone,
    }
    check(&schema.with::<Others>());
}

#[test]
fn a_missing_fixture_is_named_with_an_example() {
    let directory = fixtures(&ALL[1..]);
    let panic = panic_of(|| check_fixtures(directory.path()));
    assert!(panic.contains("AddressUpdated.v1.json"), "{panic}");
    assert!(panic.contains(r#""user_id": "..""#), "{panic}");
    assert_eq!(panic.matches("there is no fixture").count(), 1, "{panic}");
}
