//! Being told to stop: Ctrl-C, or SIGTERM from a service manager.

use tokio::signal::unix::{SignalKind, signal};

/// Completes when the process is told to stop.
pub(crate) async fn stop() {
    let heard = |kind| signal(kind).expect("signal handlers can be set while the runtime runs");
    let (mut interrupt, mut terminate) =
        (heard(SignalKind::interrupt()), heard(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
