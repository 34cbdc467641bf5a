//! Random upcasters against a plain model of what they do.

use std::collections::BTreeMap;

use annals::{Annals, LoadError, Part, Read, RecordedEvent, Upcasters};
use futures_util::StreamExt;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::upcast::{log, old};

const TYPES: [&str; 4] = ["A", "B", "C", "D"];
const VERSIONS: std::ops::Range<u32> = 1..4;

/// What is said about one type and version.
#[derive(Clone, Debug)]
enum Step {
    Change,
    Split(Vec<(usize, u32)>),
}

/// What is said about all other versions of a type.
#[derive(Clone, Debug)]
enum Finally {
    Drop,
    Rename(usize),
}

#[derive(Clone, Debug)]
struct Said {
    steps: BTreeMap<(usize, u32), Step>,
    finally: BTreeMap<usize, Finally>,
}

fn said() -> impl Strategy<Value = Said> {
    let shape = || (0..TYPES.len(), VERSIONS);
    let step = prop_oneof![3 => Just(Step::Change), 1 => vec(shape(), 0..3).prop_map(Step::Split)];
    let finally = prop_oneof![
        1 => Just(Finally::Drop),
        3 => (0..TYPES.len()).prop_map(Finally::Rename),
    ];
    let all = (btree_map(shape(), step, 0..6), btree_map(0..TYPES.len(), finally, 0..3));
    all.prop_map(|(steps, finally)| Said { steps, finally })
}

/// As it is written in a program.
fn upcasters(said: &Said) -> Upcasters {
    let mut upcasters = Upcasters::new();
    for (&(name, version), step) in &said.steps {
        let mark = format!("{}{version}", TYPES[name]);
        upcasters = match step.clone() {
            Step::Change => upcasters.upcast(TYPES[name], version, move |data| {
                data["trace"].as_array_mut().expect("it has one").push(mark.clone().into());
            }),
            Step::Split(parts) => upcasters.split(TYPES[name], version, &TYPES, move |data| {
                let parts = parts
                    .iter()
                    .map(|&(name, version)| Part::new(TYPES[name], version, data.clone()));
                parts.collect()
            }),
        };
    }
    for (&name, finally) in &said.finally {
        upcasters = match finally {
            Finally::Drop => upcasters.drop_type(TYPES[name]),
            Finally::Rename(new) => upcasters.rename(TYPES[name], TYPES[*new]),
        };
    }
    upcasters
}

type Shape = (usize, u32, Vec<String>);

/// What an event becomes; `None` if it goes in a circle. What it has been cannot come again,
/// because the same would follow.
fn model(said: &Said, at: Shape, been: &[(usize, u32)]) -> Option<Vec<Shape>> {
    let (name, version, mut trace) = at;
    if been.contains(&(name, version)) {
        return None;
    }
    let been = [been, &[(name, version)]].concat();
    match (said.steps.get(&(name, version)), said.finally.get(&name)) {
        (Some(Step::Change), _) => {
            trace.push(format!("{}{version}", TYPES[name]));
            model(said, (name, version + 1, trace), &been)
        }
        (Some(Step::Split(parts)), _) => {
            let parts = parts
                .iter()
                .map(|&(name, version)| model(said, (name, version, trace.clone()), &been));
            parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat())
        }
        (None, Some(Finally::Drop)) => Some(vec![]),
        (None, Some(Finally::Rename(new))) => model(said, (*new, version, trace), &been),
        (None, None) => Some(vec![(name, version, trace)]),
    }
}

fn shape(event: &RecordedEvent) -> Shape {
    let name = TYPES.iter().position(|name| *name == event.event_type.as_str());
    let data: Value = serde_json::from_slice(&event.data.bytes).expect("it is JSON");
    let trace = serde_json::from_value(data["trace"].clone()).expect("it has a trace");
    (name.expect("it is one of the types"), event.schema_version, trace)
}

proptest! {
    #[test]
    fn events_become_what_a_plain_model_says(said in said(), name in 0..TYPES.len(), version in VERSIONS) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
        let read: Vec<Result<RecordedEvent, LoadError>> = runtime.block_on(async {
            let stored = old(TYPES[name], version, json!({ "trace": [] }).to_string());
            let log = Annals::new(log("a-1", [stored]).await).with_upcasters(&upcasters(&said));
            log.read(Read::all()).collect().await
        });
        let read: Result<Vec<_>, _> = read.into_iter().collect();
        match model(&said, (name, version, vec![]), &[]) {
            Some(expected) => {
                let read = read.expect("it ends");
                prop_assert_eq!(read.iter().map(shape).collect::<Vec<_>>(), expected);
            }
            None => prop_assert!(read.is_err(), "{:?}", read),
        }
    }
}
