//! The row and the event: both, or neither.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::client::Client;
use crate::on_both;
use crate::place::Place;
use crate::served::Served;

on_both!(
    of_sixteen_who_want_an_address_one_gets_it,
    of_eight_who_destroy_a_user_one_does,
    a_veto_leaves_neither_row_nor_event,
    a_failure_behind_the_event_leaves_neither_row_nor_event,
    rows_and_events_stay_together_under_load,
);

async fn of_sixteen_who_want_an_address_one_gets_it(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let addresses = ["ada@example.org", "ADA@example.org"];
    let racers = (0..16).map(|racer| client.create(addresses[racer % 2]));
    let answers = join_all(racers).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "email_taken");
    }
    assert_eq!(place.counts().await, [1, 1, 1, 0]);
}

async fn of_eight_who_destroy_a_user_one_does(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let id = client.created("ada@example.org").await;
    let answers = join_all((0..8).map(|_| client.destroy(&id))).await;
    let happened = answers.iter().filter(|answer| answer.is(200)["happened"] == json!(true));
    assert_eq!(happened.count(), 1, "{answers:?}");
    assert_eq!(place.counts().await, [1, 2, 0, 1]);
}

async fn a_veto_leaves_neither_row_nor_event(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    place.run("INSERT INTO blocked_domains VALUES ('spam.example')").await;
    let vetoed = client.create("ada@SPAM.example").await.problem(422, "vetoed");
    assert_eq!(vetoed["errors"][0]["field"], "user.email");
    assert_eq!(vetoed["errors"][0]["code"], "blocked");
    assert_eq!(place.counts().await, [0, 0, 0, 0]);
    // Subdomains are others, and the address was not taken by the attempt.
    client.created("ada@not.spam.example").await;
    place.run("DELETE FROM blocked_domains").await;
    client.created("ada@spam.example").await;
    assert_eq!(place.counts().await, [2, 2, 2, 0]);
}

/// The row, the counts and the event are written when it fails: on PostgreSQL at the commit.
async fn a_failure_behind_the_event_leaves_neither_row_nor_event(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let kept = client.created("kept@example.org").await;
    let (break_it, mend_it, (status, code)) = match &place {
        Place::Postgres(_) => (
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN RAISE 'the disk is on fire'; END $$;
             CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON annals.events
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail();",
            "DROP TRIGGER fails ON annals.events",
            (503, "unavailable"),
        ),
        Place::Sqlite(_) => (
            "CREATE TRIGGER fails AFTER INSERT ON annals_events
                 BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END;",
            "DROP TRIGGER fails",
            (500, "broken"),
        ),
    };
    place.run(break_it).await;
    let failed = client.create("ada@example.org").await;
    failed.problem(status, code);
    assert!(!failed.text.contains("fire"), "what broke is nobody else's business: {failed:?}");
    client.destroy(&kept).await.problem(status, code);
    assert_eq!(place.counts().await, [1, 1, 1, 0]);
    place.run(mend_it).await;
    client.created("ada@example.org").await;
    client.destroy(&kept).await.is(200);
    assert_eq!(place.counts().await, [2, 3, 1, 1]);
}

async fn rows_and_events_stay_together_under_load(place: Place) {
    let served = Served::start(&place).await;
    let worker = async |client: &Client, worker: u32| {
        let mut ids = BTreeSet::new();
        for round in 0..4 {
            let id = client.created(&format!("u{worker}.{round}@example.org")).await;
            client
                .create(&format!("u{worker}.{round}@example.org"))
                .await
                .problem(409, "email_taken");
            if round % 2 == 0 {
                client.destroy(&id).await.is(200);
            }
            ids.insert(id);
        }
        ids
    };
    let created = join_all((0..8).map(|number| worker(&served.client, number))).await;
    let created: BTreeSet<String> = created.into_iter().flatten().collect();
    let [rows, events] = place.ids().await;
    assert_eq!((&rows, &events), (&created, &created));
    assert_eq!(place.counts().await, [32, 48, 16, 16]);
    served.stop().await;
}
