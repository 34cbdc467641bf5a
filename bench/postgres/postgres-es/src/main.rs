//! cqrs-es on PostgreSQL: each append is a transaction of one INSERT on a connection of a pool.
//!
//! Called by `annals-bench-postgres` with the URL of an empty database, the number of callers,
//! how long to warm up and how long to measure, in seconds; prints the rate. Each caller appends
//! one event at a time to a stream of its own. The table is that of postgres-es: its one index
//! is by stream and version, and it has no order across streams.

use std::time::{Duration, Instant};

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, SerializedEvent};
use cqrs_es::{Aggregate, DomainEvent};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

/// As in the repository's `db/init.sql`.
const TABLE: &str = "CREATE TABLE events (
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, callers, warm_up, seconds] = &arguments[..] else {
        panic!("arguments: URL CALLERS WARM-UP SECONDS");
    };
    let callers: u32 = callers.parse().expect("a number of callers");
    let time = |text: &str| Duration::from_secs_f64(text.parse().expect("a number of seconds"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let rate = runtime.block_on(measure(url, callers, time(warm_up), time(seconds)));
    println!("{rate}");
}

async fn measure(url: &str, callers: u32, warm_up: Duration, time: Duration) -> f64 {
    let pool = PgPoolOptions::new()
        .max_connections(callers)
        .min_connections(callers)
        .connect(url)
        .await
        .expect("the server accepts connections");
    sqlx::query(TABLE).execute(&pool).await.expect("the table is made");
    let begin = Instant::now() + warm_up;
    let end = begin + time;
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let repository = PostgresEventRepository::new(pool.clone());
            tokio::spawn(async move {
                let mut counted = 0_u64;
                for sequence in 1.. {
                    let event = [event(caller, sequence)];
                    let stored = repository.persist::<Account>(&event, None).await;
                    stored.expect("the append succeeds");
                    let now = Instant::now();
                    counted += u64::from(now > begin && now <= end);
                    if now > end {
                        break;
                    }
                }
                counted
            })
        })
        .collect();
    let mut counted = 0;
    for caller in callers {
        counted += caller.await.expect("no caller fails");
    }
    counted as f64 / time.as_secs_f64()
}

/// 200 bytes of JSON.
fn event(caller: u32, sequence: usize) -> SerializedEvent {
    let account = format!("own-{caller}");
    let mut note = String::new();
    let payload = loop {
        let payload = serde_json::json!({"account": account, "amount": sequence, "note": note});
        let missing = 200_usize.saturating_sub(payload.to_string().len());
        if missing == 0 {
            break payload;
        }
        note.extend(std::iter::repeat_n('x', missing));
    };
    SerializedEvent {
        aggregate_id: account,
        sequence,
        aggregate_type: Account::TYPE.into(),
        event_type: "MoneyDeposited".into(),
        event_version: "1".into(),
        payload,
        metadata: serde_json::json!({}),
    }
}

/// postgres-es wants an aggregate for the name of its type only.
#[derive(Default, Serialize, Deserialize)]
struct Account;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MoneyDeposited;

impl DomainEvent for MoneyDeposited {
    fn event_type(&self) -> String {
        "MoneyDeposited".into()
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = ();
    type Event = MoneyDeposited;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        _command: (),
        _services: &(),
        _sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn apply(&mut self, _event: MoneyDeposited) {}
}
