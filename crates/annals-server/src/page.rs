//! The page that shows the log live, and the OpenAPI document.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::http::typed;

/// One file: what it needs is in it.
const PAGE: &str = include_str!("page.html");

/// Only the page's own script and style run, known by their hashes; nothing is loaded.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let script = hash_of("<script>", "</script>");
    let style = hash_of("<style>", "</style>");
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are printable")
});

fn hash_of(open: &str, close: &str) -> String {
    let content = PAGE
        .split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .map(|(content, _)| content)
        .expect("the page has one script and one style");
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

/// `GET /`
pub(crate) async fn page() -> Response {
    let mut response = typed("text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// `GET /v1/openapi.json`
pub(crate) async fn openapi() -> Response {
    typed("application/json", annals_api::OPENAPI)
}
