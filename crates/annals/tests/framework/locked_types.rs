//! What the lock sees of changes to the types of fields, and to how they are written.

use annals::Event;
use annals::schema::{Lock, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Versions of a program, each with an event, and with the types that stand in it.
macro_rules! program {
    ($name:ident { $($fields:tt)* } $($types:item)*) => {
        #[allow(dead_code, reason = "events to be described")]
        mod $name {
            use super::*;

            $($types)*

            #[derive(Event)]
            pub(super) enum OrderEvent { Placed { $($fields)* } }
        }
    };
}

/// What the lock of one program has against another.
fn between<Old: Event, New: Event>() -> Vec<String> {
    let lock = Schema::new().with::<Old>().locked(&Lock::new());
    let read = Lock::from_json(&lock.to_json()).expect("a lock is read as it was written");
    let found = Schema::new().with::<New>().check(&read);
    let changes = found.err().into_iter().flatten().flat_map(|breaking| breaking.changes);
    changes.map(|change| format!("{}: {}", change.path, change.what)).collect()
}

const NONE: [&str; 0] = [];

mod in_cents {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(amount: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(amount * 100.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(f64::deserialize(deserializer)? / 100.0)
    }
}
use in_cents as in_hundredths;

program!(counted_in_cents {
    #[serde(with = "in_cents")]
    total: f64
});
program!(counted { total: f64 });
program!(counted_in_hundredths {
    #[serde(with = "in_hundredths")]
    total: f64
});
program!(counted_by_two {
    #[serde(
        serialize_with = "in_cents::serialize",
        deserialize_with = "in_hundredths::deserialize"
    )]
    total: f64
});
program!(counted_by_two_others {
    #[serde(
        serialize_with = "in_hundredths::serialize",
        deserialize_with = "in_hundredths::deserialize"
    )]
    total: f64
});
program!(counted_somehow { total: serde_json::Value });

#[test]
fn what_a_function_writes_only_the_same_function_reads() {
    let removed = between::<counted_in_cents::OrderEvent, counted::OrderEvent>();
    assert_eq!(removed, ["total: was `f64 with in_cents`, and is a number (double) now"]);
    let added = between::<counted::OrderEvent, counted_in_cents::OrderEvent>();
    assert_eq!(added, ["total: was a number (double), and is `f64 with in_cents` now"]);
    let other = between::<counted_in_cents::OrderEvent, counted_in_hundredths::OrderEvent>();
    assert_eq!(other, ["total: was `f64 with in_cents`, and is `f64 with in_hundredths` now"]);
    let writer = between::<counted_by_two::OrderEvent, counted_by_two_others::OrderEvent>();
    assert_eq!(writer.len(), 1, "{writer:?}");
    let somehow = between::<counted_in_cents::OrderEvent, counted_somehow::OrderEvent>();
    assert_eq!(somehow, ["total: was `f64 with in_cents`, and is anything now"]);
    let same = between::<counted_in_cents::OrderEvent, counted_in_cents::OrderEvent>();
    assert_eq!(same, NONE);
}

program!(
    named { at: Moment, last: Option<Moment>, how: Option<How>, lines: Vec<Moment> }
    #[derive(Serialize, Deserialize)] pub(super) struct Moment(String);
    #[derive(Serialize, Deserialize)] pub(super) enum How { Post, Van { by: String } }
);
program!(
    described { at: Moment, last: Option<Moment>, how: Option<How>, lines: Vec<Moment> }
    #[derive(Serialize, Deserialize, JsonSchema)] pub(super) struct Moment(String);
    #[derive(Serialize, Deserialize, JsonSchema)] pub(super) enum How { Post, Van { by: String } }
);
program!(other_types { at: u64, last: Option<u64>, how: Option<String>, lines: Vec<u64> });

#[test]
fn a_type_known_by_its_name_gets_a_schema_and_another_type_does_not_stand_for_it() {
    assert_eq!(between::<named::OrderEvent, described::OrderEvent>(), NONE);
    let other = between::<named::OrderEvent, other_types::OrderEvent>();
    assert_eq!(
        other,
        [
            "at: was `Moment`, and is a whole number (uint64) now",
            "how: was `How`, and is a text or null now",
            "last: was `Moment`, and is a whole number or null (uint64) now",
            "lines[]: was `Moment`, and is a whole number (uint64) now",
        ]
    );
}

#[test]
fn the_name_of_a_type_with_a_schema_is_in_no_lock() {
    let lock = Schema::new().with::<described::OrderEvent>().locked(&Lock::new()).to_json();
    assert!(!lock.contains("Moment"), "{lock}");
}
