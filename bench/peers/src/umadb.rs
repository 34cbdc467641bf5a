//! UmaDB: its own server at its own defaults, and its own gRPC client over loopback.
//!
//! It has no streams; a tag stands for the stream.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use annals_bench_contest::load::Batch;
use annals_bench_contest::{Contestant, Tally, Which};
use tokio::sync::oneshot;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_core::mvcc::StorageOptions;
use umadb_dcb::{DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};
use umadb_server::{ServerOptions, start_server_with_options};

#[derive(Clone)]
pub struct UmaDb {
    client: Arc<AsyncUmaDbClient>,
    server: Arc<Mutex<Option<Server>>>,
}

struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Contestant for UmaDb {
    async fn open(directory: &Path) -> Self {
        // The server takes an address, not a socket: ask the system for a free port first.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a port is free").to_string();
        let options = ServerOptions {
            listen_addr: address.clone(),
            tls: None,
            api_key: None,
            storage: StorageOptions::default().db_path(directory),
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let serve = start_server_with_options(options, stopped);
            runtime.expect("a runtime starts").block_on(serve).expect("the server ends well");
        });
        let client = UmaDbClient::new(format!("http://{address}")).connect_async().await;
        Self {
            client: Arc::new(client.expect("the client connects")),
            server: Arc::new(Mutex::new(Some(Server { stop, thread }))),
        }
    }

    async fn append(&self, batch: Batch) {
        let events = batch.events.into_iter().map(|event| DcbEvent {
            event_type: event.event_type.into(),
            tags: std::iter::once(batch.stream.clone()).chain(event.tag).collect(),
            data: event.data,
            uuid: Some(event.id),
            metadata: Vec::new(),
        });
        self.client.append(events.collect(), None, None).await.expect("the append succeeds");
    }

    async fn read(&self, which: &Which) -> Tally {
        let query = match which {
            Which::All => None,
            Which::Stream(tag) | Which::Tag(tag) => {
                Some(DcbQuery::new().item(DcbQueryItem::new().tags([tag.as_str()])))
            }
        };
        let mut tally = Tally::default();
        let mut events = self.client.read(query, None, false, None).await.expect("the read starts");
        loop {
            let batch = events.next_batch().await.expect("the read succeeds");
            if batch.is_empty() {
                return tally;
            }
            for event in batch {
                tally.count(&event.event.data);
            }
        }
    }

    async fn close(self) {
        drop(self.client);
        let server = self.server.lock().expect("no caller has panicked").take();
        let Server { stop, thread } = server.expect("a store is closed once");
        stop.send(()).expect("the server lives");
        thread.join().expect("the server ends well");
    }
}
