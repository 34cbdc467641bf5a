//! What is derived from the log: searched and listed after a write, made anew, interrupted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use annals::{CheckpointStore, Event, EventStore, EventStoreExt, ExpectedVersion, Position};
use annals::{SqliteReadSide, SqliteStore, StreamId, SubscriberInfo};
use hyper::Method;
use serde_json::{Value, json};
use shop::account::AccountEvent::{FundsDeposited, FundsWithdrawn};
use tokio::net::TcpListener;

use crate::binary::shop;
use crate::client::{Answer, Client, DEADLINE};
use crate::served::Served;

impl Client {
    /// The same, wanting to see what this answer acknowledged.
    fn after(&self, answer: &Answer) -> Self {
        let after = answer.headers["annals-after"].to_str().expect("text");
        self.clone().with("annals-after", after)
    }

    async fn offer(&self, sku: &str, name: &str, price: u64) -> Answer {
        self.put(&format!("/products/{sku}"), &json!({ "name": name, "price": price })).await
    }

    /// The ids of the products that are found.
    async fn found(&self, words: &str) -> Vec<String> {
        let answer = self.get(&format!("/products?search={words}")).await.is(200);
        let products = answer["products"].as_array().expect("a list").iter();
        products.map(|product| product["id"].as_str().expect("an id").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_search_after_a_write_finds_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::in_file(&directory).await;
    let client = &served.client;
    client.offer("SHOE", "Red shoe", 80).await.is(200);
    let added = client.offer("BOOT", "Red boot", 120).await;
    assert_eq!(added.is(200)["name"], "Red boot");
    let mut found = client.after(&added).found("red").await;
    found.sort();
    assert_eq!(found, ["BOOT", "SHOE"]);
    // The last word may still be typed; the others not.
    assert_eq!(client.found("red+sho").await, ["SHOE"]);
    assert_eq!(client.found("re+shoe").await, [""; 0]);

    let changed = client.offer("SHOE", "Red shoe", 60).await;
    let cheaper = client.after(&changed).get("/products?search=shoe").await.is(200);
    let shoe = json!({ "id": "SHOE", "name": "Red shoe", "price": 60 });
    assert_eq!(cheaper, json!({ "products": [shoe], "more": false }));
    let removed = client.send(Method::DELETE, "/products/SHOE", "").await;
    removed.is(200);
    assert_eq!(client.after(&removed).found("red").await, ["BOOT"]);
    served.stop().await;

    let served = Served::in_file(&directory).await;
    assert_eq!(served.client.found("").await, ["BOOT"], "it was kept");
    served.stop().await;
}

#[tokio::test]
async fn a_product_and_its_item_cost_the_same() {
    let served = Served::empty().await;
    let client = &served.client;
    client.offer("TEA", "Green tea", 450).await.is(200);
    client.offer("TEA", "Green tea", 480).await.is(200);
    let item = client.get("/items/TEA").await.is(200);
    assert_eq!((&item["price"], &item["version"]), (&json!(480), &json!(2)));
    let events = served.events().await;
    let same = client.offer("TEA", "Green tea", 480).await;
    assert_eq!((&same.is(200)["receipt"], served.events().await), (&Value::Null, events));
    assert!(!same.headers.contains_key("annals-after"), "nothing was recorded");

    client.offer("TEA", "Black tea", 480).await.problem(409, "other_name");
    let wrong = client.offer("TEA", " ", 0).await.errors(422, "invalid");
    assert_eq!(
        wrong,
        [["name", "title"], ["price", "range"]].map(|error| error.map(str::to_owned))
    );
    client.send(Method::DELETE, "/products/POT", "").await.problem(404, "not_found");
    assert_eq!(served.events().await, events);
    served.stop().await;
}

#[tokio::test]
async fn balances_are_listed_in_pages_after_a_write() {
    let served = Served::empty().await;
    let client = &served.client;
    for (account, amount) in [("ada", 500), ("bob", 70), ("cy", 9)] {
        let path = format!("/accounts/{account}/deposits");
        client.post(&path, &json!({ "amount": amount })).await.is(200);
    }
    let less = client.post("/accounts/ada/withdrawals", &json!({ "amount": 120 })).await;
    assert_eq!(less.is(200)["balance"], 380);
    let client = client.after(&less);
    let first = client.get("/balances?limit=2").await.is(200);
    let (ada, bob) =
        (json!({ "id": "ada", "balance": 380 }), json!({ "id": "bob", "balance": 70 }));
    assert_eq!(first, json!({ "balances": [ada, bob] }));
    let rest = client.get("/balances?after=bob").await.is(200);
    assert_eq!(rest, json!({ "balances": [{ "id": "cy", "balance": 9 }] }));

    let refused = client.post("/accounts/cy/withdrawals", &json!({ "amount": 10 })).await;
    refused.problem(409, "insufficient_funds");
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_waited_for_or_asked_is_told() {
    let served = Served::empty().await;
    let client = &served.client;
    for (after, path) in [("soon", "/products?search=x"), ("-1", "/balances")] {
        let client = client.clone().with("annals-after", after);
        client.get(path).await.problem(400, "invalid_after");
    }
    for path in ["/products?limit=x", "/balances?limit=0", "/balances?after=%20"] {
        client.get(path).await.problem(400, "invalid_query");
    }
    let long = "x".repeat(2_000);
    client.get(&format!("/products?search={long}")).await.problem(400, "invalid_search");
    let never = client.clone().with("annals-after", "1000000");
    never.get("/balances").await.problem(503, "behind");
    served.stop().await;
}

const ACCOUNTS: u64 = 40;

/// Movements of many accounts, the products of a catalogue in between, and where they end.
async fn fill(directory: &Path, movements: u64) -> Position {
    let store = SqliteStore::open(directory.join("shop.db")).expect("the file opens");
    for round in 0..movements / ACCOUNTS / 10 {
        for account in 0..ACCOUNTS {
            let events = (0..10).map(|number| match number {
                9 => FundsWithdrawn { amount: round },
                _ => FundsDeposited { amount: 100 + account },
            });
            let events: Vec<_> = events.map(|event| event.encode().expect("it is JSON")).collect();
            let stream = StreamId::of("account", format!("a{account}")).expect("a name");
            let append = store.append_to(stream, ExpectedVersion::Any, events);
            append.await.expect("it is appended");
        }
    }
    let head = store.head().await.expect("the log");
    store.close().await;
    head
}

/// What the log says that the balances are, or what was moved behind a position.
async fn of_log(directory: &Path, after: Position) -> BTreeMap<String, i64> {
    let store = SqliteStore::open(directory.join("shop.db")).expect("the file opens");
    let log = store.read_to_end(annals::Read::all().after(after)).await.expect("the log");
    let mut balances = BTreeMap::new();
    for recorded in log {
        let balance: &mut i64 = balances.entry(recorded.stream.id().to_owned()).or_default();
        *balance += match shop::account::AccountEvent::decode_current(&recorded) {
            Ok(FundsDeposited { amount }) => amount.cast_signed(),
            Ok(FundsWithdrawn { amount }) => -amount.cast_signed(),
            Err(_) => continue,
        };
    }
    store.close().await;
    balances
}

#[track_caller]
fn succeeds(directory: &Path, line: &str) -> Output {
    let output = shop(directory).args(line.split_whitespace()).output().expect("it runs");
    assert!(output.status.success(), "{line}: {output:?}");
    output
}

/// What `shop balances` lists.
#[track_caller]
fn listed(directory: &Path) -> BTreeMap<String, i64> {
    let output = succeeds(directory, "balances");
    let said = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let (balance, account) = line.trim_start().split_once("  ").expect("two columns");
        (account.to_owned(), balance.parse().expect("a number"))
    };
    said.lines().map(line).collect()
}

async fn standing(directory: &Path) -> Option<SubscriberInfo> {
    let file = directory.join("shop.derived.db");
    if !file.exists() {
        return None;
    }
    let read_side = SqliteReadSide::open(&file).expect("the file opens");
    let name = "balances".parse().expect("a name");
    let info = read_side.subscriber(&name).await.expect("it is read");
    read_side.close().await;
    info
}

#[tokio::test]
async fn balances_go_on_from_their_checkpoint_and_are_rebuilt_whole_or_since() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    let half = fill(here, 2_000).await;
    assert_eq!(listed(here), of_log(here, Position::START).await);
    let applied = |info: &SubscriberInfo| {
        info.active().expect("it runs").partitions.iter().map(|part| part.events).sum::<u64>()
    };
    assert_eq!(applied(&standing(here).await.expect("it ran")), 2_000);

    // Since the checkpoint: the first half is not applied again.
    fill(here, 2_000).await;
    assert_eq!(listed(here), of_log(here, Position::START).await);
    assert_eq!(applied(&standing(here).await.expect("it ran")), 4_000);

    succeeds(here, &format!("rebuild balances --after {half}"));
    assert_eq!(listed(here), of_log(here, half).await);
    assert_eq!(applied(&standing(here).await.expect("it ran")), 2_000);

    let output = succeeds(here, "rebuild balances --partitions 2");
    assert_eq!(output.stdout, b"the balances are rebuilt\n");
    assert_eq!(listed(here), of_log(here, Position::START).await);
    let info = standing(here).await.expect("it ran");
    let parts = &info.active().expect("it runs").partitions;
    assert!(parts.len() == 2 && parts.iter().all(|part| part.events > 0), "{parts:?}");
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_rebuild_that_was_killed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    fill(here, 8_000).await;
    let expected = of_log(here, Position::START).await;
    assert_eq!(listed(here), expected);

    let mut command = shop(here);
    command.args(["rebuild", "balances", "--partitions", "2", "--pace", "500"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut child = Killed(child);
    let begun = Instant::now();
    let building = loop {
        let info = standing(here).await.expect("it ran");
        let building = info.building().cloned();
        let begins = |part: &annals::PartitionInfo| part.events > 0;
        match building {
            Some(building) if building.partitions.iter().all(begins) => break building,
            _ => {}
        }
        assert!(begun.elapsed() < DEADLINE, "it does not come so far");
        assert_eq!(child.0.try_wait().expect("it is a child"), None, "it ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    drop(child);
    let done: u64 = building.partitions.iter().map(|part| part.events).sum();
    assert!(done < 8_000, "it had come to the end");

    // What is read is whole all the while, and the rest of the rebuild is no more than the rest.
    assert_eq!(listed(here), expected);
    succeeds(here, "rebuild balances");
    assert_eq!(listed(here), expected);
    let info = standing(here).await.expect("it ran");
    let active = info.active().expect("it runs");
    assert_eq!(active.generation, building.generation);
    assert_eq!(active.partitions.iter().map(|part| part.events).sum::<u64>(), 8_000);
}

#[tokio::test]
async fn a_rebuild_says_how_far_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path(), 4_000).await;
    let output = succeeds(directory.path(), "rebuild balances --pace 2000");
    let said = String::from_utf8(output.stderr).expect("text");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.starts_with("rebuilt ") && first.contains(" events/s"), "{said}");
}

#[tokio::test]
async fn the_catalogue_is_made_anew_when_its_file_is_gone_or_when_told_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    succeeds(here, "seed");
    succeeds(here, "rebuild products");
    for file in ["shop.derived.db", "shop.derived.db-wal", "shop.derived.db-shm"] {
        let _ = std::fs::remove_file(here.join(file));
    }
    succeeds(here, "rebuild products --partitions 2");
    let served = Served::in_file(&directory).await;
    let head = served.shop.annals().store().head().await.expect("the log").to_string();
    let client = served.client.clone().with("annals-after", &head);
    let mut found = client.found("blue").await;
    found.sort();
    assert_eq!(found, ["CUP", "POT"]);
    served.stop().await;
}

#[test]
fn a_cluster_is_for_a_shop_in_a_file_and_has_a_url() {
    let directory = tempfile::tempdir().expect("a directory");
    for (line, hint) in [
        ("balances --elasticsearch ftp://x", "the URL must be like https://"),
        ("balances --store memory --elasticsearch http://127.0.0.1:9", "name a file with --store"),
    ] {
        let output = shop(directory.path()).args(line.split_whitespace()).output();
        let output = output.expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains(hint), "{line}: {said}");
    }
}

/// What a cluster is sent and answers is tested in `annals-search`; here, that it is asked.
#[tokio::test]
async fn with_a_cluster_the_catalogue_is_made_there() {
    let directory = tempfile::tempdir().expect("a directory");
    succeeds(directory.path(), "seed");
    let cluster = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", cluster.local_addr().expect("its number"));
    let mut command = shop(directory.path());
    command.args(["rebuild", "products", "--elasticsearch", &url]);
    let child = command.env("SHOP_ELASTICSEARCH_KEY", "s3cret").stderr(Stdio::null()).spawn();
    let _child = Killed(child.expect("it runs"));
    let asked = tokio::time::timeout(DEADLINE, cluster.accept()).await.expect("it is asked");
    let connection = asked.expect("somebody connects").0.into_std().expect("it is a socket");
    connection.set_nonblocking(false).expect("sockets take it");
    connection.set_read_timeout(Some(DEADLINE)).expect("sockets take it");
    let lines = BufReader::new(connection).lines().map(|line| line.expect("text"));
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    assert_eq!(head[0], "PUT /products-1 HTTP/1.1");
    assert!(head.contains(&"authorization: ApiKey s3cret".to_owned()), "{head:?}");
}
