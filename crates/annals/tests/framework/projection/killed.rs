//! Two processes work four parts of a projection on one file; one of them is killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use annals::{
    Annals, CheckpointStore, Position, Projecting, ReadModel, SqliteReadSide, SqliteStore,
};

use crate::projection::bank::{Balances, fill};
use crate::projection::places::SOON;
use crate::projection::running::all;

/// Where the process that is killed works; not set in the process that kills it.
const PLACE: &str = "ANNALS_TEST_KILLED_AT";
const LEASE: Duration = Duration::from_secs(1);

fn open(place: &Path) -> (SqliteStore, SqliteReadSide) {
    let file = place.join("bank.db");
    let store = SqliteStore::open(&file).expect("the log opens");
    (store, SqliteReadSide::open(&file).expect("the read side opens"))
}

/// Each process takes two parts, as long as the other one takes the rest.
fn run(bank: &Annals, read_side: &SqliteReadSide) -> (ReadModel<Balances>, Projecting) {
    let model = ReadModel::new(Balances, read_side.clone());
    let projecting = bank.project(model.clone()).partitions(4).share(2);
    (model, projecting.lease(LEASE).events_max(5))
}

/// The process that is killed: a test that does nothing unless it is asked to.
#[tokio::test(flavor = "multi_thread")]
async fn projects_until_it_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let (store, read_side) = open(Path::new(&place));
    let _running = run(&Annals::new(store), &read_side).1.start();
    std::future::pending::<()>().await;
}

/// A process that is killed when it goes out of scope.
struct Killed(Child);

impl Killed {
    fn start(place: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "projection::killed::projects_until_it_is_killed", "--nocapture"])
            .env(PLACE, place)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the process starts"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who works the parts, each once.
async fn owners(read_side: &SqliteReadSide) -> Vec<String> {
    let info = read_side.subscriber(&"balances".parse().unwrap()).await.unwrap();
    let parts = info.map(|info| info.active().unwrap().partitions.clone()).unwrap_or_default();
    let mut owners: Vec<_> = parts.iter().filter_map(|part| Some(part.owner.clone()?.0)).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_a_process_that_is_killed_are_taken_over_and_nothing_is_lost_or_done_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (store, read_side) = open(directory.path());
    let bank = Annals::new(store.clone());
    let other = Killed::start(directory.path());
    let (model, projecting) = run(&bank, &read_side);
    let running = projecting.start();
    let shared = async {
        while owners(&read_side).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, shared).await.expect("both have parts");

    // Killed in the middle of what it does.
    let filling = tokio::spawn(async move { fill(&store, 40, 600).await });
    let begun = async {
        while read_side
            .subscriber(running.name())
            .await
            .unwrap()
            .unwrap()
            .active()
            .unwrap()
            .position()
            == Position::START
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, begun).await.expect("every part has come somewhere");
    drop(other);
    let last = filling.await.unwrap();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, bank.live(Balances).rows().await.unwrap());
    let events: u64 = all(&model).await.values().map(|row| row.events).sum();
    assert_eq!(events, 600, "each event counts once");
    assert_eq!(owners(&read_side).await.len(), 1, "the other's parts have a new owner");
}
