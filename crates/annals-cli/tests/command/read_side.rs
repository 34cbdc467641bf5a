//! Projections, inboxes and deliveries from the shell, beside an application that runs them.

use std::path::Path;
use std::time::Duration;

use annals::{
    Annals, Event, Inbox, ReactError, Reacting, ReadModel, RecordedEvent, RowKey,
    RunningProjection, types,
};
use annals_postgres::PostgresReadSide;
use annals_sqlite::{SqliteReadSide, SqliteStore};
use serde_json::{Value, json};

use crate::annals::{DEADLINE, Place, Ran};
use crate::postgres::database;

#[derive(Debug, Event)]
enum AccountEvent {
    MoneyDeposited { amount: u64 },
}

struct Balances;

impl annals::Projection for Balances {
    type Event = AccountEvent;
    type Row = u64;
    const NAME: &'static str = "balances";

    fn apply(
        &self,
        _: &RowKey,
        held: Option<u64>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        let AccountEvent::MoneyDeposited { amount } = event;
        Some(held.unwrap_or(0) + amount)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The application: it runs until it is dropped.
fn run(directory: &Path, read_side: &str) -> RunningProjection {
    let store = SqliteStore::open(directory.join("annals.db")).unwrap();
    let read_side = SqliteReadSide::open(directory.join(read_side)).unwrap();
    Annals::new(store).project(ReadModel::new(Balances, read_side)).start()
}

fn deposit(place: &Place, data: &str) {
    place.run(&["append", "account-1", "MoneyDeposited", data]).ok();
}

fn show(place: &Place) -> Value {
    place.run(&["projections", "show", "balances", "--json"]).ok().json_lines().remove(0)
}

#[test]
fn a_projection_is_listed_paused_resumed_and_rebuilt() {
    let place = Place::new();
    place.run(&["projections", "list"]).failed(1, "there is no store at annals.db");
    deposit(&place, r#"{"amount":100}"#);
    let none = place.run(&["projections", "list"]);
    assert_eq!((none.code, &*none.stdout), (Some(0), ""));
    assert!(none.stderr.contains("when an application first runs it"), "{none:?}");

    let runtime = runtime();
    let running = {
        let _context = runtime.enter();
        run(place.path(), "annals.db")
    };
    runtime.block_on(running.wait_for(1.into(), DEADLINE)).unwrap();
    let listed = place.run(&["projections", "list"]).ok().stdout;
    assert_eq!(
        listed,
        "balances                  running     at position 1, nothing behind the log\n"
    );
    let told = place.run(&["projections", "pause", "balances"]).ok().stdout;
    assert_eq!(told, "balances pauses, in every process, until it is resumed\n");
    // From here on another process would say that it is paused, too.
    runtime.block_on(running.stop());
    deposit(&place, r#"{"amount":50}"#);
    let listed = place.run(&["projections", "list"]).ok().stdout;
    assert!(
        listed.starts_with(
            "balances                  paused      at position 1, behind the log by 1 events"
        ),
        "{listed}"
    );
    assert!(listed.contains("all types counted"), "{listed}");

    let rebuild = place.run(&["projections", "rebuild", "balances", "--partitions", "2", "--json"]);
    assert_eq!(rebuild.code, Some(0), "{rebuild:?}");
    assert!(
        rebuild.stderr.contains("an application that runs balances does the work"),
        "{rebuild:?}"
    );
    assert_eq!(rebuild.json_lines()[0]["generations"][1]["parts"].as_array().unwrap().len(), 2);
    let told = place.run(&["projections", "show", "balances"]).ok().stdout;
    assert!(told.contains("generation 2 of version 1, being built"), "{told}");
    assert!(told.contains("part 2 of 2  position 0  0 events, 0 parked"), "{told}");
    assert!(told.contains("nobody works it"), "{told}");
    assert!(told.contains("[------------------------------]   0.0 % of the log"), "{told}");
    let told = place.run(&["projections", "cancel", "balances"]).ok().stdout;
    assert_eq!(told, "generation 2 of balances is given up\n");
    let told = place.run(&["projections", "cancel", "balances"]).ok().stdout;
    assert!(told.contains("nothing was done"), "{told}");
    place.run(&["projections", "resume", "balances"]).ok();
    assert_eq!(show(&place)["state"], "running");

    place.run(&["projections", "show", "none"]).failed(1, "none is not known here");
    place
        .run(&["projections", "rebuild", "balances", "--partitions", "0"])
        .failed(2, "0 is not in");
    place.run(&["projections", "rebuild", "balances", "--partitions", "1025"]).failed(2, "1025");
    place.run(&["projections", "pause", "a b"]).failed(2, "invalid value");
}

/// The bar ends with the rebuild, and says so when nobody works.
#[test]
fn a_rebuild_is_watched_until_it_is_done() {
    let place = Place::new();
    deposit(&place, r#"{"amount":100}"#);
    let runtime = runtime();
    let _context = runtime.enter();
    let running = run(place.path(), "annals.db");
    runtime.block_on(running.wait_for(1.into(), DEADLINE)).unwrap();
    runtime.block_on(running.stop());

    let mut watching = place.spawn(&["projections", "rebuild", "balances", "--watch", "--json"]);
    let started = std::time::Instant::now();
    while show(&place)["rebuild"].is_null() {
        assert!(started.elapsed() < DEADLINE, "no rebuild begins");
    }
    let told = watching.stderr_until("start an application");
    assert!(told.contains("nobody works generation 2 of balances: "), "{told}");
    assert!(told.contains("0.0 % of the log  0 events/s"), "{told}");
    let running = run(place.path(), "annals.db");
    let (code, stderr) = watching.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("generation 2 of balances has caught up"), "{stderr}");
    assert_eq!(show(&place)["generations"][0]["generation"], 2);
    let nothing = place.run(&["projections", "show", "balances", "--watch"]);
    assert!(nothing.stderr.contains("no rebuild of balances is under way"), "{nothing:?}");
    runtime.block_on(running.stop());
}

#[test]
fn a_failed_part_says_where_and_why_in_another_file() {
    let place = Place::new();
    deposit(&place, r#"{"amount":"a lot"}"#);
    let runtime = runtime();
    let _context = runtime.enter();
    let running = run(place.path(), "derived.db");
    let failed = runtime.block_on(running.wait_for(1.into(), DEADLINE)).unwrap_err();
    assert!(failed.to_string().contains("has stopped"), "{failed}");
    let both = |arguments: &[&str]| {
        place.run(&[arguments, &["--read-side", "sqlite:derived.db"]].concat())
    };
    let told = both(&["projections", "show", "balances"]).ok().stdout;
    assert!(told.starts_with("balances  failed  at position 0"), "{told}");
    assert!(told.contains("position 1: ") && told.contains("a lot"), "{told}");
    let parked = both(&["projections", "parked", "balances"]);
    assert_eq!((&*parked.stdout, &*parked.stderr), ("", "balances has put no events aside\n"));
    let none = both(&["projections", "list", "--json"]).ok().json_lines().remove(0);
    assert_eq!(none["state"], "failed");
    place
        .run(&["projections", "list", "--read-side", "sqlite:none.db"])
        .failed(1, "there is no file none.db");
    assert!(!place.path().join("none.db").exists());
    runtime.block_on(running.stop());
}

fn email(fails: bool) -> Inbox {
    let react = move |_: AccountEvent, delivery: Reacting| async move {
        delivery.note("451 try again\u{1b}[2J");
        if fails { Err(ReactError::permanent("the address is gone\u{1b}[2J")) } else { Ok(()) }
    };
    Inbox::on("email", types!(AccountEvent::{MoneyDeposited}), react)
}

/// Runs the inbox until its deliveries have been tried.
fn deliver(place: &Place, fails: bool, until: &str) {
    let runtime = runtime();
    runtime.block_on(async {
        let store = SqliteStore::open(place.path().join("annals.db")).unwrap();
        let read_side = SqliteReadSide::open(place.path().join("annals.db")).unwrap();
        let inboxes = Annals::new(store)
            .inboxes(std::sync::Arc::new(read_side))
            .inbox(email(fails))
            .start()
            .await
            .unwrap();
        let started = tokio::time::Instant::now();
        loop {
            let found = inboxes.deliveries(annals::SelectDeliveries::all(), 10).await.unwrap();
            let is_done = |one: &annals::DeliveryInfo| {
                serde_json::to_value(one.state).unwrap() == until
                    || one.state == annals::DeliveryState::Skipped
            };
            if !found.is_empty() && found.iter().all(is_done) {
                break;
            }
            assert!(started.elapsed() < DEADLINE, "{found:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        inboxes.stop().await;
    });
}

#[test]
fn dead_letters_are_looked_at_retried_and_skipped() {
    let place = Place::new();
    deposit(&place, r#"{"amount":100}"#);
    // In another lane, which the first dead letter does not hold up.
    place.run(&["append", "account-2", "MoneyDeposited", r#"{"amount":50}"#]).ok();
    deliver(&place, true, "dead");

    let listed = place.run(&["inboxes", "list"]).ok().stdout;
    assert!(
        listed.starts_with(
            "email                     running     0 waiting, 0 to be tried again, 0 taken, 2 dead"
        ),
        "{listed}"
    );
    let listed =
        place.run(&["deliveries", "list", "--inbox", "email", "--state", "dead", "--json"]);
    let ids: Vec<_> =
        listed.ok().json_lines().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    let text = place.run(&["deliveries", "list", "--limit", "1"]);
    assert!(text.stdout.contains("MoneyDeposited account-1@1  1 attempt  "), "{text:?}");
    assert!(text.stdout.contains("the address is gone\\u{1b}[2J"), "{text:?}");
    assert!(text.stderr.contains("there are more than 1"), "{text:?}");
    let shown = place.run(&["deliveries", "show", &ids[0]]);
    assert!(shown.stdout.contains("  attempt 1  "), "{shown:?}");
    assert!(shown.stdout.contains("answered: 451 try again\\u{1b}[2J"), "{shown:?}");
    assert!(shown.stderr.contains("annals deliveries retry email/"), "{shown:?}");

    place.run(&["deliveries", "retry"]).failed(2, "this would retry every delivery");
    let counted = place.run(&["deliveries", "retry", "--inbox", "email"]);
    counted.failed(2, "2 deliveries would be retried");
    place.run(&["deliveries", "skip", &ids[0]]).failed(2, "--reason");
    place.run(&["deliveries", "skip", &ids[0], "--reason", " "]).failed(2, "`reason` is empty");
    place.run(&["deliveries", "retry", &ids[0], "--inbox", "email"]).failed(2, "cannot be used");
    place
        .run(&["deliveries", "list", "--recipient", &"x".repeat(600)])
        .failed(2, "recipient_bytes_max");
    place.run(&["deliveries", "show", "email/none"]).failed(1, "there is no delivery email/none");
    assert_eq!(
        place.run(&["deliveries", "list", "--state", "dead", "--json"]).ok().json_lines().len(),
        2
    );

    let told = place.run(&["deliveries", "skip", &ids[0], "--reason", "moved away"]).ok().stdout;
    assert_eq!(told, "1 delivery is given up; what waited behind it goes on\n");
    let shown = place.run(&["deliveries", "show", &ids[0], "--json"]).ok().json_lines().remove(0);
    assert_eq!(shown["delivery"]["skipped"], "moved away");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1);
    let retry = ["deliveries", "retry", "--inbox", "email", "--state", "dead", "--yes", "--json"];
    assert_eq!(place.run(&retry).ok().json_lines()[0], json!({"retried": 1}));
    deliver(&place, false, "done");
    let shown = place.run(&["deliveries", "show", &ids[1], "--json"]).ok().json_lines().remove(0);
    assert_eq!(shown["delivery"]["state"], "done");

    let told = |wish: &str| -> Ran { place.run(&["inboxes", wish, "email"]).ok() };
    assert!(told("pause").stdout.contains("they queue up meanwhile"));
    let state = || place.run(&["inboxes", "list", "--json"]).ok().json_lines()[0]["state"].clone();
    assert_eq!(state(), "paused");
    told("resume");
    assert_eq!(state(), "running");
    assert!(told("disable").stdout.contains("never delivered"));
    assert_eq!(state(), "disabled");
    told("enable");
    assert_eq!(state(), "running");
    place.run(&["inboxes", "pause", "none"]).failed(1, "there is no inbox none here");
    place.run(&["projections", "pause", "email"]).failed(1, "email is not known here");
}

#[test]
fn what_no_application_runs_any_more_is_deleted() {
    let place = Place::new();
    deposit(&place, r#"{"amount":100}"#);
    let runtime = runtime();
    let running = {
        let _context = runtime.enter();
        run(place.path(), "annals.db")
    };
    runtime.block_on(running.wait_for(1.into(), DEADLINE)).unwrap();
    let delete = ["projections", "delete", "balances", "--yes"];
    place.run(&delete).failed(1, "cannot be deleted now");
    runtime.block_on(running.stop());
    deliver(&place, true, "dead");

    let told = place.run(&["projections", "delete", "balances"]);
    told.failed(2, "balances, its checkpoint at position 1, 0 parked events");
    place
        .run(&["inboxes", "delete", "email"])
        .failed(2, "1 of which are not made yet, 1 being dead");
    assert_eq!(place.run(&["projections", "list", "--json"]).ok().json_lines().len(), 1);
    assert_eq!(place.run(&["inboxes", "list", "--json"]).ok().json_lines().len(), 1);

    place.run(&["inboxes", "delete", "balances", "--yes"]).failed(1, "balances is not known here");
    place.run(&["projections", "delete", "email", "--yes"]).failed(1, "email is not known here");
    let told = place.run(&delete).ok().stdout;
    assert_eq!(
        told,
        "balances is deleted, with 1 row; if an application starts it, it begins anew\n"
    );
    place.run(&delete).failed(1, "balances is not known here");
    let told = place.run(&["inboxes", "delete", "email", "--yes", "--json"]).ok();
    let gone = json!({"name": "email", "parked": 0, "rows": 0, "deliveries": 1, "tables": []});
    assert_eq!(told.json_lines()[0], gone);
    for what in ["projections", "inboxes", "deliveries"] {
        let none = place.run(&[what, "list", "--json"]);
        assert_eq!((none.code, &*none.stdout), (Some(0), ""), "{none:?}");
    }
}

#[test]
fn a_read_side_in_postgresql_is_managed_and_served() {
    let (place, database) = (Place::new(), database());
    let store = ["--store", database.url()];
    let run = |arguments: &[&str]| place.run(&[arguments, &store].concat());
    run(&["append", "account-1", "MoneyDeposited", r#"{"amount":100}"#]).ok();
    let none = run(&["projections", "list"]);
    none.failed(1, "Name the place with --read-side");
    crate::postgres::block_on(async {
        let read_side = PostgresReadSide::connect(database.url()).await.unwrap();
        let store = annals_postgres::PostgresStore::connect(database.url()).await.unwrap();
        let balances = ReadModel::new(Balances, read_side);
        let running = Annals::new(store).project(balances).start();
        running.wait_for(4096.into(), DEADLINE).await.unwrap();
        running.stop().await;
    });
    let listed = run(&["projections", "list"]).ok().stdout;
    assert!(listed.contains("at position 4096, nothing behind the log"), "{listed}");
    let wrong = format!("{}?schema=other", database.url());
    let other = run(&["projections", "list", "--read-side", &wrong]);
    other.failed(1, "opening the read side in");
    let served =
        place.start(&[&["serve", "--listen", "127.0.0.1:0", "--json"], &store[..]].concat());
    let status = crate::http::get(&served.address(), "/v1/projections/balances?wait_for=4096");
    assert_eq!(status["position"], 4096);
    let secret = "postgres://me:correct-horse@here:port/db";
    let refused = run(&["projections", "list", "--read-side", secret]);
    refused.failed(2, "invalid value for '--read-side' or ANNALS_READ_SIDE");
    assert!(!refused.stderr.contains("correct-horse"), "{refused:?}");
}
