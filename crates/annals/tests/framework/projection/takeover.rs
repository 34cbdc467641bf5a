//! Several processes, here as several runners: each part is worked by one at a time.

use std::time::Duration;

use annals::{ListRows, ReadModel};

use crate::projection::bank::{Balances, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![what_a_dead_runner_worked_is_taken_over, two_runners_share_the_parts,];

const LEASE: Duration = Duration::from_millis(500);

async fn what_a_dead_runner_worked_is_taken_over(place: Place) {
    let first = fill(&*place.store, 20, 100).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let run = || place.bank.project(model.clone()).partitions(4).lease(LEASE).start();

    // One that dies without giving anything back.
    let dying =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let running = {
        let _inside = dying.enter();
        run()
    };
    running.wait_for(first, SOON).await.unwrap();
    let survivor = run();
    dying.shutdown_background();
    let last = fill(&*place.store, 20, 100).await;
    survivor.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
    drop(running);
}

async fn two_runners_share_the_parts(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let run = || {
        let projecting = place.bank.project(model.clone()).partitions(4);
        projecting.lease(LEASE).share(2).start()
    };
    let (one, other) = (run(), run());
    let last = fill(&*place.store, 20, 200).await;
    one.wait_for(last, SOON).await.unwrap();
    let info = place.rows.subscriber(one.name()).await.unwrap().unwrap();
    let owners = info.active().unwrap().partitions.iter();
    let mut owners: Vec<_> = owners.filter_map(|part| Some(part.owner.clone()?.0)).collect();
    owners.sort_unstable();
    assert_eq!(owners.len(), 4);
    owners.dedup();
    assert_eq!(owners.len(), 2, "each has two");

    // Alone, the other takes what nobody else wants.
    one.stop().await;
    let last = fill(&*place.store, 20, 100).await;
    other.wait_for(last, SOON).await.unwrap();
    let rows = model.list(ListRows { limit: 100, ..ListRows::default() }).await.unwrap();
    let events: u64 = rows.iter().map(|(_, row)| row.events).sum();
    assert_eq!(events, 300);
}
