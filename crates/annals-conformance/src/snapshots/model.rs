//! Any history of saves and drops gives the same answers as a list and loops over it.

use annals_core::{SelectSnapshots, Snapshot, SnapshotInfo};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any as anything};
use proptest::prop_oneof;
use proptest::test_runner::{TestCaseError, TestCaseResult, TestError};
use tokio::runtime::Handle;

use super::SnapshotBackend;
use super::probe::{Probe, fold, snapshot, taken};
use crate::model::seeded_runner;
use crate::words::{category, stream};

const OPERATIONS_MAX: usize = 40;
const STREAMS: [&str; 7] = ["A-1", "a", "a!1", "a-1", "a-1-1", "ab-1", "b-1"];
const CATEGORIES: [&str; 4] = ["a", "ab", "A", "a!1"];
const FOLDS: [&str; 3] = ["F", "f", "g"];
/// Versions and moments are below this.
const NUMBERS: u64 = 6;

#[derive(Clone, Debug)]
enum Operation {
    Save { stream: usize, fold: usize, version: u64, taken: u64, bytes: usize },
    Load { stream: usize, fold: usize },
    List(Which),
    Drop(Which),
}

/// The criteria, by number.
#[derive(Clone, Debug)]
struct Which {
    stream: Option<usize>,
    category: Option<usize>,
    fold: Option<usize>,
    every_fold_but: Option<usize>,
    taken_before: Option<u64>,
}

impl Which {
    fn select(&self) -> SelectSnapshots {
        let mut which = SelectSnapshots::all();
        if let Some(number) = self.stream {
            which = which.stream(stream(STREAMS[number]));
        }
        if let Some(number) = self.category {
            which = which.category(category(CATEGORIES[number]));
        }
        if let Some(number) = self.fold {
            which = which.fold(fold(FOLDS[number]));
        }
        if let Some(number) = self.every_fold_but {
            which = which.every_fold_but(fold(FOLDS[number]));
        }
        if let Some(number) = self.taken_before {
            which = which.taken_before(taken(number));
        }
        which
    }

    /// Said once more in plain words, so as not to ask the code under test.
    fn selects(&self, snapshot: &Snapshot) -> bool {
        let (name, fold_name) = (snapshot.stream.as_str(), snapshot.fold.as_str());
        let is_of = |number: usize| {
            let category = CATEGORIES[number];
            name == category || name.starts_with(&format!("{category}-"))
        };
        self.stream.is_none_or(|number| name == STREAMS[number])
            && self.category.is_none_or(is_of)
            && self.fold.is_none_or(|number| fold_name == FOLDS[number])
            && self.every_fold_but.is_none_or(|number| fold_name != FOLDS[number])
            && self.taken_before.is_none_or(|number| snapshot.taken_at < taken(number))
    }
}

pub(super) async fn snapshots_any_history_agrees_with_a_model(backend: &dyn SnapshotBackend) {
    let (mut runner, seed) = seeded_runner();
    let histories = vec(operation(), 1..=OPERATIONS_MAX);
    let played = tokio::task::block_in_place(|| {
        runner.run(&histories, |history| Handle::current().block_on(play(backend, history)))
    });
    match played {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => panic!(
            "seed {seed}: the store and the model disagree: {reason}\nthe shortest history found \
             that shows it:\n{history:#?}"
        ),
        Err(TestError::Abort(reason)) => panic!("no histories could be made: {reason}"),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let save = (0..STREAMS.len(), 0..FOLDS.len(), 0..NUMBERS, 0..NUMBERS, 0..20_usize);
    let save = save.prop_map(|(stream, fold, version, taken, bytes)| Operation::Save {
        stream,
        fold,
        version,
        taken,
        bytes,
    });
    let load = (0..STREAMS.len(), 0..FOLDS.len());
    prop_oneof![
        8 => save,
        2 => load.prop_map(|(stream, fold)| Operation::Load { stream, fold }),
        3 => which().prop_map(Operation::List),
        1 => which().prop_map(Operation::Drop),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    let criteria = (
        option::weighted(0.3, 0..STREAMS.len()),
        option::weighted(0.4, 0..CATEGORIES.len()),
        option::weighted(0.3, 0..FOLDS.len()),
        option::weighted(0.3, 0..FOLDS.len()),
        option::weighted(0.4, 0..=NUMBERS),
        anything::<bool>(),
    );
    criteria.prop_map(|(stream, category, fold, every_fold_but, taken_before, of_streams)| Which {
        // Both together seldom select anything.
        stream: stream.filter(|_| of_streams),
        category: category.filter(|_| !of_streams),
        fold,
        every_fold_but,
        taken_before,
    })
}

async fn play(backend: &dyn SnapshotBackend, history: Vec<Operation>) -> TestCaseResult {
    let store = Probe::open(backend).await;
    let mut model = Vec::new();
    for (number, operation) in history.iter().enumerate() {
        same(number, operation, &store, &mut model).await?;
    }
    Ok(())
}

async fn same(
    number: usize,
    operation: &Operation,
    store: &Probe,
    model: &mut Vec<Snapshot>,
) -> TestCaseResult {
    let disagree = |expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let text = format!("operation {number}: expected {expected:?}, found {found:?}");
        Err(TestCaseError::fail(text))
    };
    match operation {
        Operation::Save { stream, fold, version, taken: moment, bytes } => {
            let state = vec![number.to_le_bytes()[0]; *bytes].into();
            let made = snapshot(STREAMS[*stream], FOLDS[*fold], *version);
            let made = Snapshot { taken_at: taken(*moment), state, ..made };
            store.save(&made).await;
            save(model, made);
        }
        Operation::Load { stream, fold } => {
            let found = store.load(STREAMS[*stream], FOLDS[*fold]).await;
            let expected = model.iter().find(|kept| {
                kept.stream.as_str() == STREAMS[*stream] && kept.fold.as_str() == FOLDS[*fold]
            });
            if found.as_ref() != expected {
                return disagree(&expected, &found);
            }
        }
        Operation::List(which) => {
            let mut expected: Vec<SnapshotInfo> =
                model.iter().filter(|kept| which.selects(kept)).map(Snapshot::info).collect();
            expected.sort_by_key(|info| (info.stream.clone(), info.fold.clone()));
            let found = store.list(which.select()).await;
            if found != expected {
                return disagree(&expected, &found);
            }
        }
        Operation::Drop(which) => {
            let before = model.len();
            model.retain(|kept| !which.selects(kept));
            let (expected, found) = (before - model.len(), store.drop(which.select()).await);
            if found != expected as u64 {
                return disagree(&expected, &found);
            }
        }
    }
    Ok(())
}

fn save(model: &mut Vec<Snapshot>, made: Snapshot) {
    let there = model.iter_mut().find(|kept| kept.stream == made.stream && kept.fold == made.fold);
    match there {
        None => model.push(made),
        Some(there) if there.version <= made.version => *there = made,
        Some(_) => {}
    }
}
