//! What the tracker talks to: a mail server and a web service, on loopback.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::eventually;

/// A mail server that keeps what it gets.
#[derive(Clone)]
pub(crate) struct MailSink {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    is_dead: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
}

impl Mail {
    /// What stands in a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }
}

impl MailSink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let sink = Self { address, mails: Arc::default(), is_dead: Arc::default() };
        let accepting = sink.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let sink = accepting.clone();
                // A client that goes away in the middle is its own affair.
                tokio::spawn(async move { drop(sink.talk(connection).await) });
            }
        });
        sink
    }

    /// It hangs up on everybody.
    pub(crate) fn die(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    pub(crate) fn live(&self) {
        self.is_dead.store(false, Ordering::SeqCst);
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("nobody panics with it").clone()
    }

    /// So many mails, once they are there.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Mail> {
        let enough = async || Some(self.mails()).filter(|mails| mails.len() >= count);
        eventually(&format!("the arrival of {count} mails"), enough).await
    }

    async fn talk(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection);
        lines.write_all(b"220 sink\r\n").await?;
        let mut to = Vec::new();
        let mut line = String::new();
        while lines.read_line(&mut line).await? > 0 {
            if self.is_dead.load(Ordering::SeqCst) {
                return Ok(());
            }
            let said = line.trim_end().to_owned();
            line.clear();
            let answer: &[u8] = if let Some(one) = said.strip_prefix("RCPT TO:") {
                to.push(one.trim_matches(['<', '>']).to_owned());
                b"250 ok\r\n"
            } else if said == "DATA" {
                lines.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while lines.read_line(&mut line).await? > 0 && line != ".\r\n" {
                    text.push_str(&line);
                    line.clear();
                }
                line.clear();
                let mail = Mail { to: std::mem::take(&mut to), text };
                self.mails.lock().expect("nobody panics with it").push(mail);
                b"250 kept\r\n"
            } else {
                b"250 ok\r\n"
            };
            lines.write_all(answer).await?;
        }
        Ok(())
    }
}

/// A web service that keeps what it gets, and answers as it is told.
#[derive(Clone)]
pub(crate) struct WebSink {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Vec<Kept>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) what: String,
    pub(crate) key: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl WebSink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let sink = Self { address, kept: Arc::default(), answers: Arc::default() };
        let routes = Router::new().fallback(keep).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        sink
    }

    pub(crate) fn url(&self, path: &str) -> url::Url {
        format!("http://{}{path}", self.address).parse().expect("a URL")
    }

    /// It answers so to what comes next, and keeps nothing of that; then 200.
    pub(crate) fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers.lock().expect("nobody panics with it").extend(statuses);
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.kept.lock().expect("nobody panics with it").clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Kept> {
        let enough = async || Some(self.kept()).filter(|kept| kept.len() >= count);
        eventually(&format!("the arrival of {count} requests"), enough).await
    }
}

async fn keep(
    State(sink): State<WebSink>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if let Some(status) = sink.answers.lock().expect("nobody panics with it").pop_front() {
        return StatusCode::from_u16(status).expect("a status");
    }
    let key = headers.get("idempotency-key").map_or("", |key| key.to_str().expect("text"));
    let kept = Kept {
        what: format!("{method} {uri}"),
        key: key.to_owned(),
        body: serde_json::from_slice(&body).expect("JSON"),
        headers,
    };
    sink.kept.lock().expect("nobody panics with it").push(kept);
    StatusCode::OK
}
