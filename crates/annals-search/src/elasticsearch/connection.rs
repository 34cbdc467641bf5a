//! One request and its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_core::Fault;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::ElasticsearchOptions;
use super::answer::Answer;
use crate::SearchError;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Why a cluster cannot be asked with these options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCluster {
    /// The certificates to trust cannot be read.
    #[error("the certificates are not PEM, or there is none among them")]
    Certificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The secret cannot be sent.
    #[error("the secret cannot stand in a header; give it without line breaks")]
    Secret,
    /// The URL is none of a cluster.
    #[error(
        "the URL must be like https://search.example.org:9200, without user, password, query or \
         fragment; give credentials by themselves"
    )]
    Url,
}

/// The way to a cluster. Redirects are not followed: the secret is for this address only.
pub(super) struct Connection {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    pub(super) options: ElasticsearchOptions,
}

impl Connection {
    pub(super) fn new(options: ElasticsearchOptions) -> Result<Self, InvalidCluster> {
        let base = base(&options.url)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let connector = HttpsConnectorBuilder::new();
        let untrusted = |error| InvalidCluster::Certificates(error);
        let connector = match &options.trusted {
            Some(pem) => {
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|error| untrusted(error.into()))?
                    .with_root_certificates(roots(pem)?)
                    .with_no_client_auth();
                connector.with_tls_config(config)
            }
            None => {
                let machine = connector.with_provider_and_native_roots(provider);
                machine.map_err(|error| untrusted(error.into()))?
            }
        };
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, base, options })
    }

    /// A request without a body.
    pub(super) async fn send(&self, method: Method, path: &str) -> Result<Answer, SearchError> {
        self.exchange(method, path, JSON, Bytes::new()).await.map_err(SearchError::Unavailable)
    }

    /// A request with a JSON body.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Answer, SearchError> {
        let body = Bytes::from(body.to_string());
        self.exchange(method, path, JSON, body).await.map_err(SearchError::Unavailable)
    }

    /// A bulk: lines of JSON.
    pub(super) async fn bulk(&self, path: &str, lines: Bytes) -> Result<Answer, Fault> {
        self.exchange(Method::POST, path, LINES, lines).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content: HeaderValue,
        body: Bytes,
    ) -> Result<Answer, Fault> {
        let doing = || format!("asking the cluster, {method} {path}");
        let mut request = Request::builder().method(&method).uri(format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(credentials) = &self.options.credentials {
            request = request.header(AUTHORIZATION, credentials.value());
        }
        let request =
            request.body(Full::new(body)).map_err(|error| Fault::because(doing(), error))?;
        let answered = async {
            let response =
                self.client.request(request).await.map_err(|e| Fault::because(doing(), e))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Fault::because(doing(), error))?.to_bytes();
            Ok(Answer { status, body })
        };
        let limit: Duration = self.options.timeout;
        tokio::time::timeout(limit, answered)
            .await
            .unwrap_or_else(|_| Err(Fault::new(format!("{}: no answer in {limit:?}", doing()))))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The URL without the slash at its end.
fn base(url: &str) -> Result<String, InvalidCluster> {
    let base = url.strip_suffix('/').unwrap_or(url);
    let parsed: Uri = base.parse().map_err(|_| InvalidCluster::Url)?;
    let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
    let authority = parsed.authority().map(|authority| authority.as_str());
    let is_plain = authority.is_some_and(|authority| !authority.contains('@'));
    let is_bare = parsed.query().is_none() && !url.contains('#');
    if is_http && is_plain && is_bare { Ok(base.to_owned()) } else { Err(InvalidCluster::Url) }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, InvalidCluster> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| InvalidCluster::Certificates(error.into()))?;
        roots.add(certificate).map_err(|error| InvalidCluster::Certificates(error.into()))?;
    }
    if roots.is_empty() {
        return Err(InvalidCluster::Certificates("there is no certificate".into()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_holds_a_secret_is_refused_and_not_repeated() {
        for url in [
            "https://user:secret@localhost:9200",
            "ftp://localhost",
            "localhost:9200",
            "http://localhost/?key=secret",
            "http://localhost/#secret",
            "",
        ] {
            let error = Connection::new(ElasticsearchOptions::new(url)).unwrap_err();
            assert!(matches!(error, InvalidCluster::Url), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(base("http://localhost:9200/").unwrap(), "http://localhost:9200");
        assert_eq!(base("https://proxy/search").unwrap(), "https://proxy/search");
    }

    #[test]
    fn certificates_to_trust_must_be_some() {
        for pem in ["", "no certificate"] {
            let options = ElasticsearchOptions::new("https://localhost").trusting(pem);
            let error = Connection::new(options).unwrap_err();
            assert!(matches!(error, InvalidCluster::Certificates(_)), "{error:?}");
        }
    }
}
