//! What keeps a lease while its part is worked.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{CheckpointStore, Clock, Lease, ReadSideError, Renewed};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Pauses are noticed when a lease is renewed, and should be soon.
pub(super) const INTERVAL_MAX: Duration = Duration::from_millis(500);

/// Renews a lease until it is dropped, or the lease is lost.
pub(super) struct Heart {
    pulse: watch::Receiver<Pulse>,
    beating: JoinHandle<()>,
}

/// What was heard last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pulse {
    /// The lease is ours, and this is what its owner should know.
    Beats(Renewed),
    /// Somebody else has it, or its generation is gone.
    Lost,
}

impl Heart {
    /// Renews at once, and from then on three times as often as needed.
    pub(super) async fn start(
        checkpoints: Arc<dyn CheckpointStore>,
        clock: Arc<dyn Clock>,
        lease: Lease,
        lasts: Duration,
    ) -> Result<Self, ReadSideError> {
        let first = checkpoints.renew(&lease, clock.now().saturating_add(lasts)).await?;
        let (sender, pulse) = watch::channel(Pulse::Beats(first));
        let beating = tokio::spawn(beat(checkpoints, clock, lease, lasts, sender));
        Ok(Self { pulse, beating })
    }

    pub(super) fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(
    checkpoints: Arc<dyn CheckpointStore>,
    clock: Arc<dyn Clock>,
    lease: Lease,
    lasts: Duration,
    pulse: watch::Sender<Pulse>,
) {
    loop {
        tokio::time::sleep((lasts / 3).min(INTERVAL_MAX)).await;
        match checkpoints.renew(&lease, clock.now().saturating_add(lasts)).await {
            Ok(renewed) => {
                pulse.send_if_modified(|known| {
                    let new = Pulse::Beats(renewed);
                    std::mem::replace(known, new) != new
                });
            }
            Err(ReadSideError::Fenced(_) | ReadSideError::Unknown(_) | ReadSideError::Closed) => {
                pulse.send_replace(Pulse::Lost);
                return;
            }
            // What is written is fenced by the database: to go on is safe.
            Err(error) => {
                tracing::warn!(subscriber = %lease.subscriber, %error, "renewing a lease failed");
            }
        }
    }
}
