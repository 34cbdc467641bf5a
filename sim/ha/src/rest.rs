//! Patroni's REST interface: as much HTTP as it takes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer: its status and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Whether a node answers that it is the primary and holds the leader's key: what load balancers
/// ask.
pub(crate) async fn is_primary(node: SocketAddr, patience: Duration) -> bool {
    request(node, "GET", "/primary", None, patience).await.is_ok_and(|answer| answer.status == 200)
}

/// What a node knows of the members of the cluster.
pub(crate) async fn members(node: SocketAddr) -> Result<Vec<Member>> {
    let answer = request(node, "GET", "/cluster", None, Duration::from_secs(3)).await?;
    let cluster: Value = serde_json::from_str(&answer.body)?;
    let members = cluster["members"].as_array().context("an answer without members")?;
    let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
    let member = |member: &Value| Member {
        name: text(member, "name"),
        role: text(member, "role"),
        state: text(member, "state"),
        timeline: member["timeline"].as_u64().unwrap_or_default(),
    };
    Ok(members.iter().map(member).collect())
}

/// A member as Patroni describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) timeline: u64,
}

impl Member {
    pub(crate) fn leads(&self) -> bool {
        self.role == "leader" && self.state == "running"
    }

    /// Whether it receives what the leader writes and may acknowledge it.
    pub(crate) fn follows(&self) -> bool {
        self.role == "quorum_standby" && self.state == "streaming"
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, role, state, timeline } = self;
        write!(f, "{name} {role} ({state}, timeline {timeline})")
    }
}

pub(crate) async fn request(
    node: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    patience: Duration,
) -> Result<Answer> {
    let exchange = async {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut socket = TcpStream::connect(node).await?;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {node}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        answer(&String::from_utf8_lossy(&bytes)).context("no HTTP answer")
    };
    timeout(patience, exchange).await.with_context(|| format!("{node} does not answer"))?
}

fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}
