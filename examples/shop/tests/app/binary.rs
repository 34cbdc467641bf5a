//! The program: its arguments, its signals, and its sudden death.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::Method;
use serde_json::Value;

use crate::client::{Client, DEADLINE, order};

pub(crate) fn shop(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.current_dir(directory).env_remove("SHOP_STORE").env_remove("SHOP_LOG");
    command
}

/// The program while it serves; killed when the test is done with it.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it says to try next.
    welcome: String,
    client: Client,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let mut child = shop(directory)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C stops it.") {
            assert_ne!(stderr.read_line(&mut welcome).expect("text"), 0, "it ended: {welcome}");
        }
        let (_, address) = welcome.split_once(" at http://").expect("it says where");
        let address = address.lines().next().expect("a line").parse().expect("an address");
        Self { child, stderr, welcome, client: Client::new(address) }
    }

    /// Tells it to stop; how it ended, and what it wrote since it serves.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().expect("kill").success());
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).expect("text");
        let started = Instant::now();
        while self.child.try_wait().expect("it is a child").is_none() {
            assert!(started.elapsed() < DEADLINE, "it does not end");
            thread::park_timeout(Duration::from_millis(10));
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

#[tokio::test]
async fn it_stops_when_told_to_and_keeps_what_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    for (signal, left) in [("TERM", 39), ("INT", 38)] {
        let running = Running::start(directory.path());
        let client = running.client.actor("ada");
        client.post("/orders", &order(&[("TEA", 1, 450)])).await.is(201);
        assert_eq!(client.stock_of("TEA").await, left);
        let (code, log) = running.stop(signal);
        assert_eq!((code, &*log), (Some(0), "stopped; everything acknowledged is stored\n"));
    }
}

/// The server dies while clients order; they come again with their keys until they know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_orders_it_loses_none_and_places_none_twice() {
    const WORKERS: usize = 4;
    let directory = tempfile::tempdir().expect("a directory");
    let wanted = order(&[("TEA", 1, 450), ("CUP", 1, 1_200)]);
    {
        let running = Running::start(directory.path());
        for sku in ["TEA", "CUP"] {
            let restock = serde_json::json!({ "quantity": 10_000 });
            running.client.post(&format!("/items/{sku}/restock"), &restock).await.is(200);
        }
    }
    // Every key that was ever sent, and the answer, if it came.
    let sent = Mutex::new(BTreeMap::<String, Option<Value>>::new());
    for round in 0..3 {
        let mut running = Running::start(directory.path());
        let client = running.client.actor("ada");
        let enough = tokio::sync::Notify::new();
        let worker = async |worker: usize| {
            for number in 0.. {
                let key = format!("{round}.{worker}.{number}");
                sent.lock().expect("nobody panics").insert(key.clone(), None);
                let body = wanted.to_string();
                let answer = client.key(&key).try_send(Method::POST, "/orders", body).await;
                let Some(answer) = answer else { break };
                let placed = answer.is(201);
                let mut sent = sent.lock().expect("nobody panics");
                sent.insert(key, Some(placed));
                if sent.values().flatten().count() >= (round + 1) * 12 {
                    enough.notify_one();
                }
            }
        };
        let kill = async {
            enough.notified().await;
            running.kill();
        };
        tokio::join!(join_all((0..WORKERS).map(worker)), kill);
    }

    let running = Running::start(directory.path());
    let client = running.client.actor("ada");
    let sent = sent.into_inner().expect("nobody panics");
    let mut ids = BTreeMap::new();
    for (key, first) in &sent {
        let again = client.key(key).post("/orders", &wanted).await.is(201);
        if let Some(first) = first {
            assert_eq!(again["repeated"], true, "{key} was acknowledged and lost");
            assert_eq!((&again["id"], &again["receipt"]), (&first["id"], &first["receipt"]));
        }
        let id = again["id"].as_str().expect("an id").to_owned();
        assert_eq!(ids.insert(id, key), None, "two keys have one order");
    }
    let placed = sent.len() as u64;
    assert!(sent.values().any(Option::is_none), "it was killed while somebody waited");
    let left = (client.stock_of("TEA").await, client.stock_of("CUP").await);
    assert_eq!(left, (10_040 - placed, 10_006 - placed));
    for id in ids.keys() {
        let history = client.get(&format!("/orders/{id}/history")).await.is(200);
        assert_eq!(history["events"].as_array().expect("events").len(), 1);
    }
}

/// The lines it prints can be pasted into a shell, and do what they say.
#[test]
fn what_it_says_to_try_next_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::start(directory.path());
    let joined = running.welcome.replace("\\\n", " ");
    let lines: Vec<_> =
        joined.lines().filter(|line| line.trim_start().starts_with("curl ")).collect();
    let said: Vec<Value> = lines
        .iter()
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
            assert!(output.status.success(), "{line}: {output:?}");
            serde_json::from_slice(&output.stdout).expect("JSON")
        })
        .collect();
    let [tea, placed, wrong, refused, past, history, ada, caddy, found] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((&tea["stock"], &placed["total"]), (&40.into(), &900.into()));
    assert_eq!((&wrong["status"], &refused["status"]), (&422.into(), &409.into()));
    assert_eq!((&past["stock"], &ada["address"]["country"]), (&40.into(), &"USA".into()));
    assert_eq!(history["events"][2]["type"], "ItemTaken");
    assert_eq!((&caddy["price"], found["more"].as_bool()), (&1_800.into(), Some(false)));
}

#[test]
fn a_storm_is_told_and_leaves_the_shop_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let seeded = shop(directory.path()).arg("seed").output().expect("it runs");
    assert_eq!((seeded.status.code(), seeded.stdout.len()), (Some(0), 0), "{seeded:?}");
    for arguments in [&["storm"][..], &["storm", "--tasks", "8", "--store", "memory"]] {
        let output = shop(directory.path()).args(arguments).output().expect("it runs");
        let said = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{said}");
        let last = "It agrees: every success once, and the stock never below 0\n";
        assert!(said.ends_with(last), "{said}");
    }
}

#[test]
fn snapshots_are_made_anew_of_every_item() {
    let directory = tempfile::tempdir().expect("a directory");
    let seeded = shop(directory.path()).arg("seed").output().expect("it runs");
    assert_eq!(seeded.status.code(), Some(0), "{seeded:?}");
    for (store, said) in [
        ("sqlite:shop.db", "3 items: 3 snapshots made, 0 failed\n"),
        ("memory", "0 items: 0 snapshots made, 0 failed\n"),
    ] {
        let mut made = shop(directory.path());
        let made = made.args(["snapshots", "--store", store]).output().expect("it runs");
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        assert_eq!(String::from_utf8(made.stdout).expect("text"), said);
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = "sqlite:no/where/shop.db";
    for (arguments, hint) in [
        // It would fail otherwise if it went on, and not begin to serve.
        (&["--listen", "0.0.0.0:0", "--store", nowhere][..], "listen on 127.0.0.1"),
        (&["--listen", "3100", "--store", nowhere], "write it as ADDR:PORT, like 127.0.0.1:3100"),
        (&["--store", "postgres://host/db"], "write it as sqlite:PATH or memory"),
        (&["--store", "sqlite:"], "name a file, like sqlite:shop.db"),
        (&["storm", "--tasks", "1"], "2..=1000"),
    ] {
        let output = shop(directory.path()).args(arguments).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
    let arguments = ["seed", "--store", nowhere];
    let output = shop(directory.path()).args(arguments).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot open the shop in sqlite:no/where"), "{said}");
    assert!(said.contains("\n  because "), "{said}");
}
