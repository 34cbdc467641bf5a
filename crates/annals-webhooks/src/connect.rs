//! Connections to the very addresses that were checked.

use std::error::Error;
use std::fmt::{self, Debug};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::reach::{NotPublic, Reach};

/// Where the addresses of a host come from: the seam for tests.
#[async_trait]
pub trait Resolve: Send + Sync + Debug {
    /// The addresses of a host, the best one first.
    ///
    /// # Errors
    /// When they cannot be found out now.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The addresses that the operating system knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// Connects within a time, TLS included.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) https: HttpsConnector<Checked>,
    pub(crate) timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.https.call(uri));
        let timeout = self.timeout;
        Box::pin(async move {
            connecting.await.unwrap_or_else(|_| Err(ConnectFault::Timeout { timeout }.into()))
        })
    }
}

/// Connects where it may. A host is resolved once: the connection goes to an address that was
/// checked, and not to what a second answer would be.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) reach: Arc<Reach>,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Service<Uri> for Checked {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectFault;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectFault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { reach, resolver } = self.clone();
        Box::pin(async move {
            let (host, port) = place(&uri);
            let addresses = addresses(host, &*resolver).await?;
            // One that is not public is enough: whoever mixes them hopes for the second.
            for address in &addresses {
                reach.check_address(*address).map_err(ConnectFault::Refused)?;
            }
            first_that_answers(addresses, port).await.map(TokioIo::new)
        })
    }
}

fn place(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    (host, uri.port_u16().unwrap_or(usual))
}

async fn addresses(host: &str, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, ConnectFault> {
    match host.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => resolver.resolve(host).await.map_err(ConnectFault::Resolve),
    }
}

async fn first_that_answers(addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, ConnectFault> {
    let mut fault = ConnectFault::NoAddress;
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => fault = ConnectFault::Connect(error),
        }
    }
    Err(fault)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error("no address of the host took the connection")]
    Connect(#[source] io::Error),
    #[error("the host has no address")]
    NoAddress,
    #[error("the host leads where webhooks may not")]
    Refused(#[source] NotPublic),
    #[error("the host's name could not be resolved")]
    Resolve(#[source] io::Error),
    #[error("there was no connection within {timeout:?}")]
    Timeout { timeout: Duration },
}

impl Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
