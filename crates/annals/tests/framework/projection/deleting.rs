//! A projection that is not run any more is deleted by hand.

use annals::{Projections, ReadModel, ReadSideError, SubscriberName};

use crate::projection::bank::{Balances, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![what_nobody_runs_is_deleted_and_begins_anew];

async fn what_nobody_runs_is_deleted_and_begins_anew(place: Place) {
    let last = fill(&*place.store, 10, 100).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let run = || place.bank.project(model.clone()).start();
    let projections = Projections::over(place.bank.clone(), place.rows.clone());
    let running = run();
    let name = running.name().clone();
    running.wait_for(last, SOON).await.unwrap();
    let rows = all(&model).await;
    let refused = projections.delete(&name).await.unwrap_err();
    assert!(matches!(refused, ReadSideError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("stop it there"), "{refused}");
    running.stop().await;

    let deleted = projections.delete(&name).await.unwrap();
    assert_eq!(deleted.rows, rows.len() as u64);
    assert!(projections.list().await.unwrap().is_empty());
    assert!(all(&model).await.is_empty());
    for unknown in [&name, &SubscriberName::from_static("nobody")] {
        let unknown = projections.delete(unknown).await.unwrap_err();
        assert!(matches!(unknown, ReadSideError::Unknown(_)), "{unknown:?}");
    }

    let running = run();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, rows);
    let info = place.rows.subscriber(&name).await.unwrap().unwrap();
    assert_eq!(info.active().unwrap().generation.get(), 1);
}
