//! Breaches of what [`SnapshotStore`] says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use annals_core::error::SnapshotError;
use annals_core::{
    Fault, Fingerprint, SelectSnapshots, Snapshot, SnapshotInfos, SnapshotStore, StreamId, Version,
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::RwLock;

use super::Crossing;
use crate::decorate::SnapshotDecorator;

type Store = Arc<dyn SnapshotStore>;
type Done<T> = Result<T, SnapshotError>;
type Key = (StreamId, Fingerprint);

fn key(snapshot: &Snapshot) -> Key {
    (snapshot.stream.clone(), snapshot.fold.clone())
}

fn only((stream, fold): Key) -> SelectSnapshots {
    SelectSnapshots::all().stream(stream).fold(fold)
}

async fn there(store: &Store, snapshot: &Snapshot) -> Done<Option<Version>> {
    let there = store.load_snapshot(&snapshot.stream, &snapshot.fold).await?;
    Ok(there.map(|there| there.version))
}

/// Saves whatever is there.
async fn overwrite(store: &Store, snapshot: Snapshot) -> Done<()> {
    store.drop_snapshots(only(key(&snapshot))).await?;
    store.save_snapshot(snapshot).await
}

/// Keeps the snapshot that was saved last.
#[derive(Debug)]
pub struct KeepsTheLast;

#[async_trait]
impl SnapshotDecorator for KeepsTheLast {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        overwrite(store, snapshot).await
    }
}

/// Keeps what is there when the same version is saved again.
#[derive(Debug)]
pub struct KeepsTheFirst;

#[async_trait]
impl SnapshotDecorator for KeepsTheFirst {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        if there(store, &snapshot).await? == Some(snapshot.version) {
            return Ok(());
        }
        store.save_snapshot(snapshot).await
    }
}

/// Looks which version is there, and saves when that may be true no more.
#[derive(Debug, Default)]
pub struct LooksThenSaves(Crossing);

#[async_trait]
impl SnapshotDecorator for LooksThenSaves {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        let there = there(store, &snapshot).await?;
        self.0.meet().await;
        if there > Some(snapshot.version) {
            return Ok(());
        }
        overwrite(store, snapshot).await
    }
}

/// Makes do with a snapshot of another fold.
#[derive(Debug)]
pub struct LoadsAnyFold;

#[async_trait]
impl SnapshotDecorator for LoadsAnyFold {
    async fn load(
        &self,
        store: &Store,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Done<Option<Snapshot>> {
        let mut of_stream = store.snapshots(SelectSnapshots::all().stream(stream.clone()));
        match (store.load_snapshot(stream, fold).await?, of_stream.try_next().await?) {
            (None, Some(any)) => store.load_snapshot(stream, &any.fold).await,
            (loaded, _) => Ok(loaded),
        }
    }
}

/// Has a column that is too short for some states.
#[derive(Debug)]
pub struct CutsStates;

#[async_trait]
impl SnapshotDecorator for CutsStates {
    async fn save(&self, store: &Store, mut snapshot: Snapshot) -> Done<()> {
        snapshot.state.truncate(64 * 1024);
        store.save_snapshot(snapshot).await
    }
}

/// Reads the state after everything else.
#[derive(Debug, Default)]
pub struct TearsSnapshots(Crossing);

#[async_trait]
impl SnapshotDecorator for TearsSnapshots {
    async fn load(
        &self,
        store: &Store,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Done<Option<Snapshot>> {
        let first = store.load_snapshot(stream, fold).await?;
        self.0.meet().await;
        let second = store.load_snapshot(stream, fold).await?;
        Ok(first.zip(second).map(|(first, second)| Snapshot { state: second.state, ..first }))
    }
}

/// Keeps of larger snapshots what fits.
#[derive(Debug)]
pub struct RefusesNothing;

#[async_trait]
impl SnapshotDecorator for RefusesNothing {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        match store.save_snapshot(snapshot).await {
            Err(SnapshotError::Invalid(_)) => Ok(()),
            saved => saved,
        }
    }
}

/// Lists what fits on a page.
#[derive(Debug)]
pub struct ListsOnePage;

impl SnapshotDecorator for ListsOnePage {
    fn list(&self, store: &Store, which: SelectSnapshots) -> SnapshotInfos {
        Box::pin(store.snapshots(which).take(1_000))
    }
}

/// Lists in the order of an alphabet.
#[derive(Debug)]
pub struct ListsByAlphabet;

impl SnapshotDecorator for ListsByAlphabet {
    fn list(&self, store: &Store, which: SelectSnapshots) -> SnapshotInfos {
        let listed = store.snapshots(which).try_collect::<Vec<_>>();
        let sorted = async {
            let mut infos = listed.await?;
            infos.sort_by_key(|info| info.stream.as_str().to_lowercase());
            Ok::<_, SnapshotError>(stream::iter(infos).map(Ok))
        };
        Box::pin(stream::once(sorted).try_flatten())
    }
}

/// Lists the names first, and then looks each of them up.
#[derive(Debug)]
pub struct TripsOverDrops;

impl SnapshotDecorator for TripsOverDrops {
    fn list(&self, store: &Store, which: SelectSnapshots) -> SnapshotInfos {
        let (names, store) = (store.snapshots(which).try_collect::<Vec<_>>(), store.clone());
        let looked_up = async move {
            let infos = stream::iter(names.await?).then(move |info| {
                let store = store.clone();
                async move {
                    let there = store.load_snapshot(&info.stream, &info.fold).await?;
                    there
                        .map(|_| info)
                        .ok_or_else(|| SnapshotError::Corrupt(Fault::new("it is gone")))
                }
            });
            Ok::<_, SnapshotError>(infos)
        };
        Box::pin(stream::once(looked_up).try_flatten())
    }
}

/// Holds a lock for as long as somebody lists.
#[derive(Debug, Default)]
pub struct LocksWhileListing(Arc<RwLock<()>>);

#[async_trait]
impl SnapshotDecorator for LocksWhileListing {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        let _alone = self.0.write().await;
        store.save_snapshot(snapshot).await
    }

    fn list(&self, store: &Store, which: SelectSnapshots) -> SnapshotInfos {
        let (lock, infos) = (self.0.clone(), store.snapshots(which));
        let locked = async move {
            let reading = lock.read_owned().await;
            infos.inspect(move |_| {
                let _ = &reading;
            })
        };
        Box::pin(stream::once(locked).flatten())
    }
}

/// Takes a name that begins like a category for one of it.
#[derive(Debug)]
pub struct SelectsByPrefix;

impl SnapshotDecorator for SelectsByPrefix {
    fn list(&self, store: &Store, mut which: SelectSnapshots) -> SnapshotInfos {
        let category = which.category.take();
        Box::pin(store.snapshots(which).try_filter(move |info| {
            let prefix = category.as_ref().map_or("", |category| category.as_str());
            std::future::ready(info.stream.as_str().starts_with(prefix))
        }))
    }
}

/// Forgets that a fold is not wanted when another criterion stands beside it.
#[derive(Debug)]
pub struct SelectsByOneCriterion;

impl SnapshotDecorator for SelectsByOneCriterion {
    fn list(&self, store: &Store, mut which: SelectSnapshots) -> SnapshotInfos {
        if which.category.is_some() || which.fold.is_some() {
            which.every_fold_but = None;
        }
        store.snapshots(which)
    }
}

/// Drops young ones along with the old.
#[derive(Debug)]
pub struct DropsOfAnyAge;

#[async_trait]
impl SnapshotDecorator for DropsOfAnyAge {
    async fn drop(&self, store: &Store, mut which: SelectSnapshots) -> Done<u64> {
        which.taken_before = None;
        store.drop_snapshots(which).await
    }
}

/// Says that it dropped one even when there was none.
#[derive(Debug)]
pub struct CountsDropsFromOne;

#[async_trait]
impl SnapshotDecorator for CountsDropsFromOne {
    async fn drop(&self, store: &Store, which: SelectSnapshots) -> Done<u64> {
        Ok(store.drop_snapshots(which).await?.max(1))
    }
}

/// Remembers the newest version there ever was, dropped or not.
#[derive(Debug, Default)]
pub struct RemembersVersions(Mutex<HashMap<Key, Version>>);

#[async_trait]
impl SnapshotDecorator for RemembersVersions {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        {
            let mut newest = self.0.lock().expect("no code panics while remembering");
            let newest = newest.entry(key(&snapshot)).or_default();
            if *newest > snapshot.version {
                return Ok(());
            }
            *newest = snapshot.version;
        }
        store.save_snapshot(snapshot).await
    }
}

/// Finds only what was saved since it was opened.
#[derive(Debug, Default)]
pub struct FindsItsOwn(Mutex<HashSet<Key>>);

#[async_trait]
impl SnapshotDecorator for FindsItsOwn {
    async fn save(&self, store: &Store, snapshot: Snapshot) -> Done<()> {
        self.0.lock().expect("no code panics while remembering").insert(key(&snapshot));
        store.save_snapshot(snapshot).await
    }

    async fn load(
        &self,
        store: &Store,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Done<Option<Snapshot>> {
        let loaded = store.load_snapshot(stream, fold).await?;
        let own = self.0.lock().expect("no code panics while remembering");
        Ok(loaded.filter(|snapshot| own.contains(&key(snapshot))))
    }
}

/// Does not write down what it drops, only hides it.
#[derive(Debug, Default)]
pub struct HidesDrops(Mutex<HashSet<Key>>);

impl HidesDrops {
    fn is_hidden(&self, key: &Key) -> bool {
        self.0.lock().expect("no code panics while hiding").contains(key)
    }
}

#[async_trait]
impl SnapshotDecorator for HidesDrops {
    async fn drop(&self, store: &Store, which: SelectSnapshots) -> Done<u64> {
        let infos = store.snapshots(which).try_collect::<Vec<_>>().await?;
        let mut hidden = self.0.lock().expect("no code panics while hiding");
        hidden.extend(infos.iter().map(|info| (info.stream.clone(), info.fold.clone())));
        Ok(infos.len() as u64)
    }

    async fn load(
        &self,
        store: &Store,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Done<Option<Snapshot>> {
        let loaded = store.load_snapshot(stream, fold).await?;
        Ok(loaded.filter(|snapshot| !self.is_hidden(&key(snapshot))))
    }
}
