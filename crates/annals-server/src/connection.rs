//! From a listener to connections, and their end.

use std::io;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::{App, router};
use crate::patience::WriteDeadline;
use crate::{Options, Store};

/// How long to wait after a connection could not be accepted, when the process has no free file
/// descriptors for example.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener cannot tell its address.
    #[error("the listener is not usable")]
    Listener(#[source] io::Error),
    /// Anyone on the network could read and write everything.
    #[error(
        "listening on {0}, which other machines can reach, needs a token; set one, or listen on \
         127.0.0.1"
    )]
    TokenNeeded(std::net::SocketAddr),
}

/// Serves `store` to everyone who connects, until `shutdown` completes.
///
/// Then it accepts no more connections, ends the tails, and lets requests finish for at most
/// [`Options::shutdown_deadline`]. The store stays open: closing it is its owner's.
///
/// # Errors
/// When it would be unsafe to start.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    if options.token.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::TokenNeeded(address));
    }
    let (stop, stopping) = watch::channel(false);
    let deadline = options.shutdown_deadline;
    let mut connections = JoinSet::new();
    let router = router(App::new(store, options.clone(), stopping.clone()));
    tokio::select! {
        () = accept(&listener, &router, &options, &stopping, &mut connections) => {}
        () = shutdown => {}
    }
    drop(listener);
    stop.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(deadline, ended).await.is_err() {
        tracing::warn!("some requests did not finish within {deadline:?} and were cut off");
    }
    Ok(())
}

/// Waits until the server is told to stop, or is gone.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    options: &Options,
    stopping: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(options.connections_max));
    loop {
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = connection(stream, router.clone(), options.clone(), stopping.clone());
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    options: Options,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(WriteDeadline::new(stream, options.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}
