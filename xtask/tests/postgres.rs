//! `cargo xtask postgres`, as a developer uses it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn the_server_is_there_until_the_input_ends() {
    let mut chore = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let mut chore =
        chore.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(chore.stdout.take().unwrap()).lines().map(Result::unwrap);
    let server = "  export ANNALS_TEST_POSTGRES=postgres://postgres@";
    let address = lines.find_map(|line| Some(line.strip_prefix(server)?.to_owned())).unwrap();
    let address = address.strip_suffix("/postgres").unwrap();
    assert!(TcpStream::connect(address).is_ok(), "{address}");

    drop(chore.stdin.take());
    assert!(chore.wait().unwrap().success());
    assert!(TcpStream::connect(address).is_err(), "{address}");
}
