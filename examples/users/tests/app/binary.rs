//! The program: its arguments, its signals, its log, and its sudden death.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use futures_util::future::join_all;
use sqlx_core::raw_sql::raw_sql;

use crate::client::{Client, DEADLINE, SECRET, creation};
use crate::on_both;
use crate::place::Place;
use crate::postgres::{connection, until, until_it_waits};

fn users() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_users"));
    command.env_remove("USERS_STORE").env_remove("USERS_LOG");
    command
}

/// The program while it serves; killed when the test is done with it.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    client: Client,
}

impl Running {
    fn start(place: &Place) -> Self {
        let mut child = users()
            .args(["--store", &place.name(), "--listen", "127.0.0.1:0"])
            .env("USERS_LOG", "trace")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it ended");
            if let Some((before, address)) = line.trim().split_once(" at http://")
                && before.starts_with("users in ")
            {
                break address.parse().expect("an address");
            }
        };
        Self { child, stderr, client: Client::new(address) }
    }

    /// Tells it to stop; how it ended, and what it wrote to stderr since it serves.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().expect("kill").success());
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).expect("text");
        let started = Instant::now();
        while self.child.try_wait().expect("it is a child").is_none() {
            assert!(started.elapsed() < DEADLINE, "it does not end");
            thread::park_timeout(std::time::Duration::from_millis(10));
        }
        (self.child.wait().expect("it has ended").code(), stderr)
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

on_both!(
    it_stops_when_told_to_and_its_log_tells_no_secret,
    whatever_is_killed_leaves_rows_and_events_together,
);

async fn it_stops_when_told_to_and_its_log_tells_no_secret(place: Place) {
    for signal in ["TERM", "INT"] {
        let running = Running::start(&place);
        let email = format!("{signal}@example.org");
        let id = running.client.created(&email).await;
        running.client.create(&email).await.problem(409, "email_taken");
        let (code, log) = running.stop(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.ends_with("stopped; everything acknowledged is stored\n"), "{log}");
        assert!(log.contains(&id), "it logs what it does: {log}");
        for secret in [SECRET, "argon2id"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
    assert_eq!(place.counts().await, [2, 2, 2, 0]);
}

async fn whatever_is_killed_leaves_rows_and_events_together(place: Place) {
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut running = Running::start(&place);
        let (client, done) = (running.client.clone(), Mutex::new(Vec::new()));
        let killed = tokio::sync::Notify::new();
        let worker = async |worker: u32| {
            for number in 0.. {
                let email = format!("u{round}.{worker}.{number}@example.org");
                let body = creation(&email).to_string();
                let request = client.request(hyper::Method::POST, "/users/create", body);
                let Some(answer) = client.try_send(request).await else { break };
                let id = answer.is(201)["id"].as_str().expect("an id").to_owned();
                let mut done = done.lock().expect("nobody panics");
                done.push(id);
                if done.len() == 6 {
                    killed.notify_one();
                }
            }
        };
        let kill = async {
            killed.notified().await;
            running.kill();
        };
        tokio::join!(join_all((0..4).map(worker)), kill);
        acknowledged.extend(done.into_inner().expect("nobody panics"));
    }
    if matches!(place, Place::Postgres(_)) {
        until_it_is_gone(&place).await;
    }
    let [rows, events] = place.ids().await;
    assert_eq!(rows, events);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !rows.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let all = rows.len() as u64;
    assert_eq!(place.counts().await, [all, all, all, 0]);
}

/// Waits until the server has noticed that the program is dead.
async fn until_it_is_gone(place: &Place) {
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'users'";
    until(place, sessions, "0").await;
}

/// Killed with the row and the event both written, and not committed.
#[tokio::test]
async fn killed_before_the_commit_it_leaves_neither() {
    let place = Place::postgres().await;
    let mut running = Running::start(&place);
    place
        .run(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
             CREATE TRIGGER lingers AFTER INSERT ON annals.events
                 FOR EACH ROW EXECUTE FUNCTION linger();",
        )
        .await;
    let mut holder = connection(&place).await;
    raw_sql("SELECT pg_advisory_lock(42)").execute(&mut holder).await.expect("it is free");
    let client = running.client.clone();
    let body = creation("ada@example.org").to_string();
    let request = client.request(hyper::Method::POST, "/users/create", body);
    let creating = tokio::spawn(async move { client.try_send(request).await });
    until_it_waits(&place).await;
    running.kill();
    assert!(creating.await.expect("it does not panic").is_none(), "nobody answered");
    raw_sql("SELECT pg_advisory_unlock(42)").execute(&mut holder).await.expect("it is held");
    until_it_is_gone(&place).await;
    assert_eq!(place.counts().await, [0, 0, 0, 0]);

    let running = Running::start(&place);
    running.client.created("ada@example.org").await;
    assert_eq!(place.counts().await, [1, 1, 1, 0]);
}

#[test]
fn wrong_usage_says_what_is_right() {
    for (arguments, hint) in [
        (["--listen", "0.0.0.0:3000"], "no authentication; listen on 127.0.0.1"),
        (["--listen", "[::]:3000"], "no authentication; listen on 127.0.0.1"),
        (["--listen", "3000"], "write it as ADDR:PORT, like 127.0.0.1:3000"),
        (["--store", "memory:"], "write it as sqlite:PATH or postgres://"),
        (["--store", "sqlite:"], "name a file, like sqlite:users.db"),
    ] {
        let output = users().args(arguments).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
}

#[test]
fn what_cannot_be_opened_says_why_and_shows_no_password() {
    let store = "postgres://ada:hush-hush@127.0.0.1:1/users";
    for (arguments, says) in [
        (["--store", store], "cannot open the users in PostgreSQL"),
        (["--store", "sqlite:no/where/users.db"], "cannot open the users in sqlite:no/where"),
    ] {
        let output =
            users().args(arguments).args(["--listen", "127.0.0.1:0"]).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.contains("\n  because "), "{said}");
        assert!(!said.contains("hush-hush"), "{said}");
    }
    let help = users().env("USERS_STORE", store).arg("--help").output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text");
    assert!(help.contains("USERS_STORE") && !help.contains("hush-hush"), "{help}");
}
