//! How long after an append an inbox reacts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use annals::{
    Data, EventStoreExt, EventType, ExpectedVersion, Inbox, NewEvent, ReactError, Reacting,
    Reactor, StreamId,
};
use annals_bench_report::Report;
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::Args;
use crate::place::Places;

const EVENTS: u64 = 500;

/// Says when it reacted.
#[derive(Clone)]
struct Tell(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Reactor for Tell {
    async fn react(&self, _: &Reacting) -> Result<(), ReactError> {
        let _ = self.0.send(Instant::now());
        Ok(())
    }
}

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start(args).await;
    for on in args.on() {
        let all = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..args.rounds.min(3) {
            let place = places.on(on).await;
            let (sender, mut told) = mpsc::unbounded_channel();
            let inbox = Inbox::new("tell", Tell(sender));
            let running = place
                .annals
                .inboxes(place.queue.clone())
                .inbox(inbox)
                .start()
                .await
                .expect("it starts");
            for number in 0..EVENTS {
                let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
                let stream = StreamId::of("thing", number).expect("a stream id");
                place.store.append_to(stream, ExpectedVersion::Any, [event]).await.expect("stored");
                let stored = Instant::now();
                let reacted = told.recv().await.expect("it reacts");
                all.lock().expect("nobody panics").push(reacted.saturating_duration_since(stored));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            running.stop().await;
        }
        let mut all = std::mem::take(&mut *all.lock().expect("nobody panics"));
        all.sort_unstable();
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        report.note(format!(
            "{on}: an inbox reacts {:.2} ms (p50), {:.2} ms (p99) after the append returns",
            at(0.5),
            at(0.99)
        ));
    }
}
