//! The way to the leader: stands for HAProxy, PgBouncer or a virtual address.
//!
//! It asks the nodes who is the primary, forwards connections there, and cuts them when another
//! node is, or none. Like HAProxy's `on-marked-down shutdown-sessions`, and for the same reason:
//! a connection to a node that hangs would wait for ever.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::log::Log;
use crate::node::Node;
use crate::rest::is_primary;

const BETWEEN_CHECKS: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the leader may fail to answer before it is none.
const FAILURES_MAX: u32 = 2;

/// Where a node serves SQL and where Patroni answers.
#[derive(Clone, Debug)]
struct Backend {
    name: String,
    sql: SocketAddr,
    rest: SocketAddr,
}

/// Starts the proxy, which runs as long as this process; returns where it listens, once it knows
/// a leader.
pub(crate) async fn start(nodes: &[Node], log: Log) -> Result<SocketAddr> {
    let backend = |node: &Node| Backend { name: node.name.clone(), sql: node.sql, rest: node.rest };
    let backends = nodes.iter().map(backend).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (sender, mut leader) = watch::channel(None);
    tokio::spawn(check(backends, sender, log));
    leader.wait_for(Option::is_some).await?;
    tokio::spawn(accept(listener, leader));
    Ok(address)
}

async fn check(backends: Vec<Backend>, leader: watch::Sender<Option<SocketAddr>>, log: Log) {
    let mut failures = 0;
    loop {
        let checks = backends.iter().map(|backend| is_primary(backend.rest, PATIENCE));
        let answers = join_all(checks).await;
        let known = *leader.borrow();
        let primaries: Vec<&Backend> =
            backends.iter().zip(answers).filter_map(|(b, primary)| primary.then_some(b)).collect();
        // Whoever leads stays the leader as long as it says so, whatever others say.
        let stays = known.is_some_and(|known| primaries.iter().any(|b| b.sql == known));
        failures = if stays { 0 } else { failures + 1 };
        if !stays {
            let next = primaries.first();
            if next.is_some() || failures >= FAILURES_MAX {
                let changed = leader.send_if_modified(|leader| {
                    let before = *leader;
                    *leader = next.map(|backend| backend.sql);
                    *leader != before
                });
                if changed {
                    let who = next.map_or("nobody", |backend| &backend.name);
                    log.say(format!("proxy: the leader is {who}"));
                }
            }
        }
        sleep(BETWEEN_CHECKS).await;
    }
}

async fn accept(listener: TcpListener, leader: watch::Receiver<Option<SocketAddr>>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(forward(client, leader.clone()))),
            // Out of file descriptors, perhaps; there may be some again soon.
            Err(_) => sleep(BETWEEN_CHECKS).await,
        }
    }
}

/// Copies bytes until somebody closes or the leader is another one. Without a leader the
/// connection is closed at once.
async fn forward(mut client: TcpStream, mut leader: watch::Receiver<Option<SocketAddr>>) {
    let Some(address) = *leader.borrow_and_update() else { return };
    let copy = async {
        if let Ok(mut server) = TcpStream::connect(address).await {
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            // However it ended: both are closed.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    };
    tokio::select! {
        () = copy => {}
        _ = leader.changed() => {}
    }
}
