//! An async projection beside a raw loop, and its rebuild in one part and in two.

use std::time::{Duration, Instant};

use annals::{Position, ReadModel, Rebuild};
use annals_bench_report::{Line, Report};

use crate::Args;
use crate::bank::{Balances, fill};
use crate::place::{Place, Places, Raw};
use crate::{postgres, sqlite};

const LONG: Duration = Duration::from_secs(600);
/// What an application does for an event, where that is what takes long.
const WORK: Duration = Duration::from_micros(20);

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start(args).await;
    for on in args.on() {
        let mut project = Line::new(format!("{on}: async projection"), "events/s");
        let rebuild =
            |what| Line::new(format!("{on}: rebuild in 2 parts beside 1{what}"), "events/s");
        let (mut idle, mut busy) = (rebuild(""), rebuild(", 20 µs of own work for each event"));
        for _ in 0..args.rounds {
            let place = places.on(on).await;
            let last = fill(&*place.store, args.events, args.accounts).await;
            project.add(raw(&place, args).await, projected(&place, args, last).await);
            if args.wants("rebuild") {
                for (line, work) in [(&mut idle, Duration::ZERO), (&mut busy, WORK)] {
                    let one = rebuilt(&place, args, 1, work).await;
                    line.add(one, rebuilt(&place, args, 2, work).await);
                }
            }
        }
        [project, idle, busy].into_iter().for_each(|line| report.add(line));
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
    let model = ReadModel::new(Balances { work: Duration::ZERO }, place.rows.clone());
    let begun = Instant::now();
    let running = place.annals.project(model).events_max(args.batch).start();
    running.wait_for(last, LONG).await.expect("it comes so far");
    let rate = args.events as f64 / begun.elapsed().as_secs_f64();
    running.stop().await;
    rate
}

async fn rebuilt(place: &Place, args: &Args, partitions: u32, work: Duration) -> f64 {
    let model = ReadModel::new(Balances { work }, place.rows.clone());
    let running = place.annals.project(model).events_max(args.batch).start();
    let begun = Instant::now();
    running.rebuild(Rebuild::new().partitions(partitions)).await.expect("it begins");
    running.wait_for_rebuild(LONG).await.expect("it ends");
    let rate = args.events as f64 / begun.elapsed().as_secs_f64();
    running.stop().await;
    rate
}
