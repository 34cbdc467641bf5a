//! An async projection beside a raw loop, and its rebuild in one part and in two.

use std::time::{Duration, Instant};

use annals::{Position, ReadModel, Rebuild};

use crate::Args;
use crate::bank::{Balances, fill};
use crate::place::{Place, Places, Raw};
use crate::report::{Line, Report};
use crate::{postgres, sqlite};

const LONG: Duration = Duration::from_secs(600);

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start().await;
    for kind in ["file", "database"] {
        let (mut project, mut rebuild) = (None, None);
        for _ in 0..args.rounds {
            let place = match kind {
                "file" => places.file().await,
                _ => places.database().await,
            };
            let last = fill(&*place.store, args.events, args.accounts).await;
            let line = project.get_or_insert_with(|| {
                Line::new(format!("{}: async projection", place.name), "events/s")
            });
            line.floor.push(raw(&place, args).await);
            line.annals.push(projected(&place, args, last).await);
            if args.wants("rebuild") {
                let line = rebuild.get_or_insert_with(|| {
                    let name = format!("{}: rebuild in 2 parts beside 1", place.name);
                    Line::new(name, "events/s")
                });
                line.floor.push(rebuilt(&place, args, 1).await);
                line.annals.push(rebuilt(&place, args, 2).await);
            }
        }
        project.into_iter().chain(rebuild).for_each(|line| report.add(line));
    }
}

async fn raw(place: &Place, args: &Args) -> f64 {
    let begun = Instant::now();
    let events = match &place.raw {
        Raw::File(_, path) => {
            let (path, batch) = (path.clone(), args.batch);
            tokio::task::spawn_blocking(move || sqlite::project(&path, batch))
                .await
                .expect("it runs")
        }
        Raw::Database(database) => postgres::project(database.url(), args.batch).await,
    };
    assert_eq!(events, args.events);
    args.events as f64 / begun.elapsed().as_secs_f64()
}

async fn projected(place: &Place, args: &Args, last: Position) -> f64 {
    let model = ReadModel::new(Balances, place.rows.clone());
    let begun = Instant::now();
    let running = place.annals.project(model).events_max(args.batch).start();
    running.wait_for(last, LONG).await.expect("it comes so far");
    let rate = args.events as f64 / begun.elapsed().as_secs_f64();
    running.stop().await;
    rate
}

async fn rebuilt(place: &Place, args: &Args, partitions: u32) -> f64 {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.annals.project(model).events_max(args.batch).start();
    let begun = Instant::now();
    running.rebuild(Rebuild::new().partitions(partitions)).await.expect("it begins");
    running.wait_for_rebuild(LONG).await.expect("it ends");
    let rate = args.events as f64 / begun.elapsed().as_secs_f64();
    running.stop().await;
    rate
}
