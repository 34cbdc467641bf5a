use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::annals::Place;
use crate::http::{Connection, get};

#[test]
fn a_store_is_served_until_told_to_stop() {
    let place = Place::new();
    let server = place.start(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let address = server.address();
    let mut connection = Connection::open(&address).unwrap();
    let (status, body) =
        connection.request("POST", "/v1/streams/a-1", "", r#"{"type":"A"}"#).unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(get(&address, "/health")["status"], "ok");
    server.signal("TERM");
    let (code, stderr) = server.end();
    assert_eq!((code, &*stderr), (Some(0), "stopped; everything acknowledged is stored\n"));
    assert_eq!(place.run(&["stats", "--json"]).ok().json_lines()[0]["events"], 1);
}

/// Although a tail by itself never ends.
#[test]
fn ctrl_c_ends_the_server_with_a_tail_open() {
    let place = Place::new();
    let mut server = place.start(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    let address = server.first_line.split(['/', ' ']).find(|word| word.starts_with("127.0.0.1:"));
    let mut tail = TcpStream::connect(address.unwrap()).unwrap();
    tail.write_all(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut tail = BufReader::new(tail);
    let mut line = String::new();
    while !line.starts_with("event: caught_up") {
        line.clear();
        assert_ne!(tail.read_line(&mut line).unwrap(), 0, "the tail ended");
    }
    server.signal("INT");
    tail.read_to_string(&mut line).unwrap();
    let mut announced = server.first_line.clone();
    server.stdout.read_to_string(&mut announced).unwrap();
    assert_eq!(server.end().0, Some(0));
    assert!(announced.contains("Annals serves memory: at http://127.0.0.1:"), "{announced}");
    assert!(announced.contains("curl -N"), "{announced}");
}

#[test]
fn other_machines_need_a_token() {
    let place = Place::new();
    place.run(&["serve", "--listen", "0.0.0.0:0"]).failed(2, "a token is needed");
    std::fs::write(place.path().join("token"), "short\n").unwrap();
    let weak = place.run(&["serve", "--listen", "0.0.0.0:0", "--token-file", "token"]);
    weak.failed(2, "fewer than 16 characters");
    place.run(&["serve", "--token-file", "missing"]).failed(1, "--token-file missing");
    assert!(!place.path().join("annals.db").exists());

    std::fs::write(place.path().join("token"), "correct-horse-battery\n").unwrap();
    let server =
        place.start(&["serve", "--listen", "127.0.0.1:0", "--json", "--token-file", "token"]);
    assert!(!server.first_line.contains("correct-horse"));
    let mut connection = Connection::open(&server.address()).unwrap();
    assert_eq!(connection.request("GET", "/v1/stats", "", "").unwrap().0, 401);
    let token = "authorization: Bearer correct-horse-battery\r\n";
    let (status, body) = connection.request("GET", "/v1/stats", token, "").unwrap();
    assert_eq!((status, &*body), (200, r#"{"events":0,"streams":0,"head":0}"#));
}

#[test]
fn a_taken_port_says_what_to_do() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.run(&["serve", "--listen", &address]).failed(1, "port 0 takes a free one");
}
