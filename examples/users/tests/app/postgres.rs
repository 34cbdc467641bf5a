//! What only PostgreSQL can show: locks of rows.

use std::time::Duration;

use sqlx_core::connection::Connection;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;
use tokio::time::{Instant, sleep};

use crate::client::DEADLINE;
use crate::place::Place;
use crate::served::Served;

/// Waits until the application waits for a lock in the database.
pub(crate) async fn until_it_waits(place: &Place) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'users' AND wait_event_type = 'Lock'";
    until(place, waiting, "1").await;
}

/// Waits until a statement answers this.
pub(crate) async fn until(place: &Place, sql: &str, answer: &str) {
    let deadline = Instant::now() + DEADLINE;
    while place.value(sql).await != answer {
        assert!(Instant::now() < deadline, "{sql} does not become {answer}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A connection of the test's own to the database.
pub(crate) async fn connection(place: &Place) -> PgConnection {
    let Place::Postgres(database) = place else { panic!("it is on PostgreSQL") };
    PgConnection::connect(database.url()).await.expect("a connection")
}

#[tokio::test]
async fn a_row_is_locked_before_it_is_decided_on() {
    let place = Place::postgres().await;
    let served = Served::start(&place).await;
    let client = &served.client;
    let id = client.created("ada@example.org").await;

    let mut other = connection(&place).await;
    let update = "BEGIN; UPDATE users SET deleted = true";
    raw_sql(update).execute(&mut other).await.expect("nobody holds the row");
    let client = client.clone();
    let destroying = tokio::spawn(async move { client.destroy(&id).await });
    until_it_waits(&place).await;
    raw_sql("COMMIT").execute(&mut other).await.expect("it commits");
    // It has seen what the other one did, and not what was there when it asked.
    let destroyed = destroying.await.expect("it does not panic").is(200);
    assert_eq!(destroyed["happened"], false, "{destroyed}");
    assert_eq!(place.value("SELECT count(*) FROM user_events").await, "1");
}

#[tokio::test]
async fn a_row_that_is_not_at_its_last_event_is_not_built_upon() {
    let place = Place::postgres().await;
    let served = Served::start(&place).await;
    let client = &served.client;
    let id = client.created("ada@example.org").await;
    place.run("UPDATE users SET version = 7").await;
    client.destroy(&id).await.problem(500, "broken");
    let rows = place.rows("SELECT deleted, version FROM users").await;
    assert_eq!(rows, [["f", "7"]]);
}
