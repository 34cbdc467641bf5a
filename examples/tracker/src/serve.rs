//! From a listener to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::tracker::Tracker;
use crate::web::router;

/// How long requests that are under way have to finish.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Serves the pages to everyone who connects, until `stop` completes; then lets requests finish
/// for some seconds. Closing the tracker is its owner's.
///
/// # Errors
/// When nobody can connect any more.
pub async fn serve(
    listener: TcpListener,
    tracker: Tracker,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (told, stopping) = oneshot::channel();
    let routes = router(tracker.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let told_to_stop = async move {
        stop.await;
        tracker.stop_pages();
        // Whoever waits for it has ended when nobody hears it.
        let _ = told.send(());
    };
    let serving = axum::serve(listener, routes).with_graceful_shutdown(told_to_stop);
    let out_of_patience = async {
        let _ = stopping.await;
        sleep(STOP_PATIENCE).await;
    };
    tokio::select! {
        served = serving => served,
        () = out_of_patience => {
            tracing::warn!("some requests did not finish within {STOP_PATIENCE:?} and were cut off");
            Ok(())
        }
    }
}
