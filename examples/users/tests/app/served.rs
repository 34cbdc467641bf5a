//! The application, served in the process of the test.

use std::io;
use std::sync::Arc;

use annals::SystemClock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use users::hashing::Hasher;
use users::http::App;
use users::serve::serve;
use users::users::Users;

use crate::client::{Client, DEADLINE};
use crate::place::Place;

pub(crate) struct Served {
    pub(crate) client: Client,
    pub(crate) users: Arc<dyn Users>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(place: &Place) -> Self {
        let users = place.open().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(listener.local_addr().expect("its number"));
        let app = App::new(Arc::clone(&users), SystemClock, Hasher::default());
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let serving = tokio::spawn(serve(listener, app, stopped));
        Self { client, users, stop, serving }
    }

    /// Stops as the program does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let served = timeout(DEADLINE, self.serving).await.expect("it stops in time");
        served.expect("it does not panic").expect("it served");
        timeout(DEADLINE, self.users.close()).await.expect("the database closes in time");
    }
}
