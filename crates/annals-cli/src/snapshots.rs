//! `annals snapshots`: what is kept beside the log to load aggregates sooner.

use annals_core::{Clock, SelectSnapshots, SnapshotInfo, SnapshotStore, SystemClock, Timestamp};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::args::{self, SnapshotsWork, TakenBefore};
use crate::failure::Failure;
use crate::location::Location;
use crate::output::{Output, grouped, note, shown};

pub(crate) async fn run(work: SnapshotsWork, mut output: Output) -> Result<(), Failure> {
    let (location, which) = match &work {
        SnapshotsWork::Drop(args) => (&args.store.location, select(&args.which)),
        SnapshotsWork::List(args) => (&args.store.location, select(&args.which)),
    };
    if matches!(location, Location::Memory) {
        return Err(Failure::invalid("a log in memory keeps no snapshots; name another --store"));
    }
    if matches!(&work, SnapshotsWork::Drop(args) if which.is_all() && !args.all) {
        return Err(Failure::invalid(
            "this would drop every snapshot; say which with --stream, --category, --fold, \
             --every-fold-but or --older-than, or mean it with --all",
        ));
    }
    let opened = location.open_existing().await?;
    let store = opened.snapshots().expect("every store but that in memory keeps snapshots");
    match &work {
        SnapshotsWork::Drop(_) => drop(store, which, &mut output).await?,
        SnapshotsWork::List(_) => list(store, which, &mut output).await?,
    }
    output.flush()?;
    opened.close().await;
    Ok(())
}

fn select(which: &args::WhichSnapshots) -> SelectSnapshots {
    let mut select = SelectSnapshots::all();
    select.stream.clone_from(&which.stream);
    select.category.clone_from(&which.category);
    select.fold.clone_from(&which.fold);
    select.every_fold_but.clone_from(&which.every_fold_but);
    select.taken_before = which.older_than.map(|older_than| match older_than {
        TakenBefore::Moment(moment) => moment,
        TakenBefore::Age(age) => {
            let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(SystemClock.now().as_micros().saturating_sub(age))
        }
    });
    select
}

async fn list(
    store: &dyn SnapshotStore,
    which: SelectSnapshots,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut is_empty = true;
    let mut infos = store.snapshots(which);
    while let Some(info) = infos.try_next().await? {
        is_empty = false;
        if output.is_json() {
            output.json(&info)?;
        } else {
            output.line(&line(&info))?;
        }
    }
    if is_empty {
        note("there are no such snapshots");
    }
    Ok(())
}

fn line(info: &SnapshotInfo) -> String {
    let SnapshotInfo { stream, fold, version, taken_at, bytes } = info;
    let (bytes, version, stream) =
        (grouped(*bytes), grouped(version.get()), shown(stream.as_str()));
    let taken_at = taken_at.to_string();
    format!("{bytes:>12} bytes  {taken_at:<27}  {fold}  {stream}@{version}")
}

async fn drop(
    store: &dyn SnapshotStore,
    which: SelectSnapshots,
    output: &mut Output,
) -> Result<(), Failure> {
    let dropped = store.drop_snapshots(which).await?;
    if output.is_json() {
        return output.json(&json!({ "dropped": dropped }));
    }
    output.line(&match dropped {
        0 => "there are no such snapshots: nothing was dropped".to_owned(),
        1 => {
            "1 snapshot was dropped; it is made again when its aggregate is next loaded".to_owned()
        }
        _ => format!(
            "{} snapshots were dropped; they are made again when their aggregates are next loaded",
            grouped(dropped)
        ),
    })
}
