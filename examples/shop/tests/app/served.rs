//! The shop, served in the process of the test.

use std::io;

use annals::{EventStoreExt, Read};
use shop::derived::{Derived, Pace};
use shop::serve::serve;
use shop::shop::Shop;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, DEADLINE};

pub(crate) struct Served {
    pub(crate) client: Client,
    pub(crate) shop: Shop,
    pub(crate) derived: Derived,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(shop: Shop) -> Self {
        let derived = Derived::in_memory(&shop);
        Self::start_with(shop, derived).await
    }

    async fn start_with(shop: Shop, derived: Derived) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(listener.local_addr().expect("its number"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let serving = tokio::spawn(serve(listener, shop.clone(), derived.clone(), stopped));
        Self { client, shop, derived, stop, serving }
    }

    /// In memory.
    pub(crate) async fn empty() -> Self {
        Self::start(Shop::in_memory()).await
    }

    /// In a file, which may have been there before.
    pub(crate) async fn in_file(directory: &TempDir) -> Self {
        let path = directory.path().join("shop.db");
        let shop = Shop::in_file(&path).expect("the file opens");
        let derived = Derived::in_file(&shop, &path, None, Pace::default());
        Self::start_with(shop, derived.expect("the file beside it opens")).await
    }

    /// How many events the log has.
    pub(crate) async fn events(&self) -> usize {
        let store = self.shop.annals().store();
        store.read_to_end(Read::all()).await.expect("the log").len()
    }

    /// Stops as the program does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let served = timeout(DEADLINE, self.serving).await.expect("it stops in time");
        served.expect("it does not panic").expect("it served");
        timeout(DEADLINE, self.derived.stop()).await.expect("what is derived stops in time");
        timeout(DEADLINE, self.shop.close()).await.expect("the file closes in time");
    }
}
