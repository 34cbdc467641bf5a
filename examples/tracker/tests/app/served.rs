//! The tracker, served in the process of the test.

use std::io;
use std::time::Duration;

use annals::inbox::Retries;
use annals::{EventStoreExt, Read, RecordedEvent};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracker::serve::serve;
use tracker::tracker::{Settings, Tracker};

use crate::client::{Client, DEADLINE};

pub(crate) struct Served {
    pub(crate) client: Client,
    pub(crate) tracker: Tracker,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(settings: Settings) -> Self {
        let tracker = Tracker::open(settings).await.expect("it opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(listener.local_addr().expect("its number"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let serving = tokio::spawn(serve(listener, tracker.clone(), stopped));
        Self { client, tracker, stop, serving }
    }

    /// With ada and grace, who are of one team.
    pub(crate) async fn with_people(settings: Settings) -> Self {
        let served = Self::start(settings).await;
        served.client.join("ada", "engines").await;
        served.client.join("grace", "engines").await;
        served
    }

    /// What happened to an issue.
    pub(crate) async fn history(&self, issue: &str) -> Vec<RecordedEvent> {
        let stream = format!("issue-{issue}").parse().expect("a stream");
        let store = self.tracker.annals().store();
        store.read_to_end(Read::stream(stream)).await.expect("the log")
    }

    pub(crate) async fn types(&self, issue: &str) -> Vec<String> {
        self.history(issue).await.iter().map(|event| event.event_type.to_string()).collect()
    }

    /// Stops as the program does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let served = timeout(DEADLINE, self.serving).await.expect("it stops in time");
        served.expect("it does not panic").expect("it served");
        timeout(DEADLINE, self.tracker.close()).await.expect("the files close in time");
    }
}

/// A tracker that tries again soon.
pub(crate) fn settings(directory: &TempDir) -> Settings {
    let mut settings = Settings::in_directory(directory.path());
    settings.retries = Retries::default()
        .attempts_max(3)
        .first(Duration::from_millis(20))
        .longest(Duration::from_millis(100));
    settings
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}
