//! What the lock sees of changes to the types of fields, and to how they are written.

use std::collections::BTreeMap;

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

program!(
    imported { at: Moment, by_name: BTreeMap<String, Moment> }
    use moments::Moment;
);
program!(in_full { at: moments::Moment, by_name: BTreeMap<String, moments::Moment> });

mod moments {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Moment(String);
}

#[test]
fn an_import_leaves_the_name_of_a_type_as_it_is() {
    assert_eq!(between::<imported::OrderEvent, in_full::OrderEvent>(), NONE);
    assert_eq!(between::<in_full::OrderEvent, imported::OrderEvent>(), NONE);
}

#[test]
fn the_name_of_a_type_with_a_schema_is_in_no_lock() {
    let lock = Schema::new().with::<described::OrderEvent>().locked(&Lock::new()).to_json();
    assert!(!lock.contains("Moment"), "{lock}");
}

program!(mapped { by_name: BTreeMap<String, String>, any: BTreeMap<String, serde_json::Value> });
program!(
    mapped_no_more { by_name: Names, any: Names }
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) struct Names { color: Option<u32> }
);
program!(paired { pair: (String, u32) });
program!(listed { pair: Vec<u32> });
program!(listed_somehow { pair: Vec<serde_json::Value> });

#[test]
fn a_map_does_not_become_a_struct_nor_a_tuple_a_list() {
    let unmapped = between::<mapped::OrderEvent, mapped_no_more::OrderEvent>();
    assert_eq!(
        unmapped,
        [
            "any: could have any fields, each anything, and loses them now",
            "by_name.color: was a text, and is a whole number or null (uint32) now",
            "by_name: could have any fields, each a text, and loses them now",
        ]
    );
    let listed = between::<paired::OrderEvent, listed::OrderEvent>();
    assert_eq!(listed, ["pair[0]: was a text, and is a whole number (uint32) now"]);
    assert_eq!(between::<paired::OrderEvent, listed_somehow::OrderEvent>(), NONE);
    assert_eq!(between::<listed::OrderEvent, paired::OrderEvent>().len(), 3);
}

program!(bare { by: String });
program!(
    flat { by: String, #[serde(flatten)] geo: Geo }
    #[derive(Serialize, Deserialize)] pub(super) struct Geo { longitude: f32 }
);
program!(
    flat_twice { by: String, #[serde(flatten)] geo: Geo, #[serde(flatten)] more: More }
    #[derive(Serialize, Deserialize)] pub(super) struct Geo { longitude: f32 }
    #[derive(Serialize, Deserialize)] pub(super) struct More { height: f32 }
);
program!(
    flat_perhaps { by: String, #[serde(flatten)] geo: Option<Geo> }
    #[derive(Serialize, Deserialize)] pub(super) struct Geo { longitude: f32 }
);
program!(
    flat_described { by: String, #[serde(flatten)] geo: Geo }
    #[derive(Serialize, Deserialize, JsonSchema)] pub(super) struct Geo { longitude: f32 }
);

#[test]
fn what_is_flattened_is_known_by_its_name() {
    let added = between::<bare::OrderEvent, flat::OrderEvent>();
    assert_eq!(added, [": `Geo` is flattened into it now, of which only the name is known"]);
    let gone = between::<flat::OrderEvent, bare::OrderEvent>();
    assert_eq!(gone, [": `Geo` is no longer flattened into it"]);
    let more = between::<flat::OrderEvent, flat_twice::OrderEvent>();
    assert_eq!(more, [": `More` is flattened into it now, of which only the name is known"]);
    assert_eq!(between::<flat_twice::OrderEvent, flat_twice::OrderEvent>(), NONE);
    assert_eq!(between::<flat::OrderEvent, flat_described::OrderEvent>(), NONE);
    assert_eq!(between::<bare::OrderEvent, flat_perhaps::OrderEvent>(), NONE);
    assert_eq!(between::<flat::OrderEvent, flat_perhaps::OrderEvent>(), NONE);
    assert_eq!(between::<flat_perhaps::OrderEvent, flat::OrderEvent>().len(), 1);
    assert_eq!(between::<flat_described::OrderEvent, flat::OrderEvent>().len(), 2);
}

program!(
    bare_variants { how: How, last: Option<How>, by: Means }
    #[derive(Serialize, Deserialize, JsonSchema)] pub(super) enum How { Post, Van }
    #[derive(Serialize, Deserialize, JsonSchema)] pub(super) enum Means { Post, Van, Ship { name: String } }
);
program!(
    explained_variants { how: How, last: Option<How>, by: Means }
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum How {
        /// By a horse.
        Post,
        Van,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum Means {
        Post,
        /// As fast as it may go.
        Van,
        /// Slowly.
        Ship { name: String }
    }
);
program!(
    explained_all { how: How, last: Option<How>, by: Means }
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum How {
        /// As fast as it may go.
        Van,
        /// By a horse.
        Post,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum Means {
        /// By a horse.
        Post,
        /// As fast as it may go.
        Van,
        Ship { name: String }
    }
);

#[test]
fn a_comment_on_a_variant_changes_nothing() {
    let lock = |schema: Schema| schema.locked(&Lock::new()).to_json();
    let bare = lock(Schema::new().with::<bare_variants::OrderEvent>());
    assert_eq!(lock(Schema::new().with::<explained_variants::OrderEvent>()), bare);
    assert_eq!(lock(Schema::new().with::<explained_all::OrderEvent>()), bare);
    assert_eq!(between::<bare_variants::OrderEvent, explained_all::OrderEvent>(), NONE);
    assert_eq!(between::<explained_variants::OrderEvent, bare_variants::OrderEvent>(), NONE);
}
