//! Every command on a log in PostgreSQL, and what becomes of a password.

use std::io::{BufRead, Read, Write};
use std::net::TcpListener;
use std::thread;

use annals_scratch::Database;

use crate::annals::{Place, Ran};
use crate::http::{Connection, get};

const PASSWORD: &str = "correct-horse";

/// An empty database of the test's own.
pub(crate) fn database() -> Database {
    block_on(Database::create())
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// The same database, with a password in the URL that a server which trusts everybody ignores.
fn with_password(database: &Database) -> String {
    let (user, rest) = database.url().split_once('@').unwrap();
    format!("{user}:{PASSWORD}@{rest}")
}

#[track_caller]
fn keeps_the_password(ran: &Ran) {
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "{ran:?}");
}

#[test]
fn the_commands_work_on_postgresql() {
    let (place, database) = (Place::new(), database());
    let store = format!("{}?schema=ledger", database.url());
    let run = |arguments: &[&str]| place.run(&[arguments, &["--store", &store]].concat());
    let appended = run(&["append", "a-1", "Opened", r#"{"amount":1.50}"#, "--tag", "k:v"]).ok();
    assert_eq!(appended.stdout, "a-1 is at version 1, position 4096\n");
    run(&["append", "a-1", "Opened", "--expect", "none"]).failed(3, "but is at version 1");
    run(&["append", "b-1", "Opened"]).ok();
    let read = run(&["read", "--json", "--tag", "k:v"]).ok();
    assert!(read.stdout.contains(r#""data":{"amount":1.50}"#), "{read:?}");
    assert_eq!(read.json_lines().len(), 1);
    let stats = run(&["stats"]).ok().stdout;
    assert_eq!(stats, "events   2\nstreams  2\nhead     8192\n");
    assert_eq!(run(&["streams", "--category", "b"]).ok().stdout, "           1  b-1\n");
    let other = format!("{}?schema=other", database.url());
    place.run(&["read", "--store", &other]).failed(1, "the schema other has no tables");

    let mut tail = place.start(&["tail", "--after", "4096", "--json", "--store", &store]);
    assert!(tail.first_line.contains(r#""stream":"b-1""#), "{}", tail.first_line);
    run(&["append", "c-1", "Opened"]).ok();
    let mut line = String::new();
    tail.stdout.read_line(&mut line).unwrap();
    assert!(line.contains(r#""stream":"c-1""#), "{line}");
    tail.signal("INT");
    assert_eq!(tail.end().0, Some(0));
}

#[test]
fn a_log_in_postgresql_is_served() {
    let (place, database) = (Place::new(), database());
    let store = with_password(&database);
    let mut server =
        place.start(&["serve", "--listen", "127.0.0.1:0", "--json", "--store", &store]);
    let address = server.address();
    let mut connection = Connection::open(&address).unwrap();
    let (status, body) =
        connection.request("POST", "/v1/streams/a-1", "", r#"{"type":"A"}"#).unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(get(&address, "/v1/stats")["events"], 1);
    assert!(server.first_line.contains(":…@"), "{}", server.first_line);
    server.signal("TERM");
    let mut stdout = server.first_line.clone();
    server.stdout.read_to_string(&mut stdout).unwrap();
    let (code, stderr) = server.end();
    keeps_the_password(&Ran { code, stdout, stderr });
    assert_eq!(code, Some(0));
}

#[test]
fn the_bank_of_the_demo_can_be_in_postgresql() {
    let (place, database) = (Place::new(), database());
    let store = with_password(&database);
    let arguments =
        ["demo", "--listen", "127.0.0.1:0", "--seconds", "1", "--accounts", "2", "--store", &store];
    let ran = place.run(&arguments);
    keeps_the_password(&ran);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("with a new log in postgres"), "{ran:?}");
    // What is to be pasted takes the password from where it belongs.
    let pasted = ran.stdout.lines().find(|line| line.contains("stats --store")).unwrap();
    assert!(pasted.contains("@") && !pasted.contains('…'), "{pasted}");
    assert!(!place.path().join("annals-demo").exists());
    let opened = place.run(&["read", "--json", "--type", "AccountOpened", "--store", &store]);
    assert_eq!(opened.ok().json_lines().len(), 2);
}

#[test]
fn a_database_without_a_log_says_what_to_do() {
    let (place, database) = (Place::new(), database());
    for command in ["read", "stats", "streams", "tail"] {
        let ran = place.run(&[command, "--store", database.url()]);
        ran.failed(1, "has no tables of Annals; run `annals migrate` first");
    }
}

/// A server that asks for a password, and refuses every one; what it was sent.
fn refusing_server() -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        client.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut startup).unwrap();
        // In clear text, please.
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        let mut head = [0; 5];
        client.read_exact(&mut head).unwrap();
        let mut password =
            vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        client.read_exact(&mut password).unwrap();
        let fields = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"me\"\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        client.write_all(&[b"E", &length[..], fields].concat()).unwrap();
        password
    });
    (port, serving)
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let place = Place::new();
    let (port, server) = refusing_server();
    let store = format!("postgres://me:{PASSWORD}@127.0.0.1:{port}/db?sslmode=disable");
    let ran = place.run(&["read", "--store", &store]);
    keeps_the_password(&ran);
    let says =
        format!("opening postgres://me:…@127.0.0.1:{port}/db?sslmode=disable: cannot connect");
    ran.failed(1, &says);
    ran.failed(1, "check the address, the user and the password: password authentication failed");
    assert_eq!(server.join().unwrap(), [PASSWORD.as_bytes(), b"\0"].concat());
}

#[test]
fn a_password_is_nowhere_to_be_seen() {
    let place = Place::new();
    let valid = format!("postgres://me:{PASSWORD}@127.0.0.1:1/db");
    for (store, arguments, code) in [
        (&*valid, &["--help"][..], 0),
        (&valid, &["read", "--help"], 0),
        (&valid, &["serve", "-h"], 0),
        (&valid, &["read", "--limit", "many"], 2),
        (&format!("{valid}?passwrod={PASSWORD}"), &["read"], 2),
        (&format!("postgres://me:{PASSWORD}@127.0.0.1:port/db"), &["read"], 2),
        (&format!("postgres:me:{PASSWORD}@127.0.0.1/db"), &["read"], 2),
        (&format!("mysql://me:{PASSWORD}@127.0.0.1/db"), &["read"], 2),
    ] {
        let mut command = place.command(arguments);
        let ran = Ran::of(command.env("ANNALS_STORE", store).output().unwrap());
        keeps_the_password(&ran);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let as_argument = place.run(&[arguments, &["--store", store]].concat());
        keeps_the_password(&as_argument);
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let place = Place::new();
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = format!("postgres://me:{PASSWORD}@127.0.0.1:{port}/db");
    let ran = place.run(&["append", "a-1", "A", "--store", &store]);
    keeps_the_password(&ran);
    ran.failed(1, "check the address, the user and the password");
    ran.failed(1, "refused");
}
