use annals_core::MemoryStore;
use annals_server::{Options, ServeError, Token, serve};
use hyper::Method;
use tokio::net::TcpListener;

use crate::client::{Answer, Server};

const SECRET: &str = "correct-horse-battery";

async fn with_token() -> Server {
    let mut options = Options::default();
    options.token = Some(Token::new(SECRET).unwrap());
    Server::of(MemoryStore::new(), options).await
}

async fn get_as(server: &Server, path: &str, authorization: &str) -> Answer {
    let mut request = server.request(Method::GET, path, "");
    request.headers_mut().insert("authorization", authorization.parse().unwrap());
    Answer::of(server.send(request).await).await
}

#[tokio::test]
async fn a_token_is_demanded_everywhere_but_for_page_and_health() {
    let server = with_token().await;
    for path in ["/v1/events", "/v1/tail", "/v1/stats", "/v1/openapi.json", "/nowhere"] {
        let refused = server.get(path).await;
        refused.problem(401, "unauthorized");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    server.post("/v1/append", "{").await.problem(401, "unauthorized");
    server.get("/").await.ok();
    server.get("/health").await.ok();
}

#[tokio::test]
async fn only_the_right_token_opens() {
    let server = with_token().await;
    get_as(&server, "/v1/stats", &format!("Bearer {SECRET}")).await.ok();
    get_as(&server, "/v1/stats", &format!("bearer {SECRET}")).await.ok();
    let wrong = [
        "Bearer correct-horse-batterz".to_owned(),
        "Bearer correct-horse".to_owned(),
        format!("Bearer {SECRET}x"),
        format!("Basic {SECRET}"),
        SECRET.to_owned(),
        "Bearer ".to_owned(),
    ];
    for authorization in wrong {
        let refused = get_as(&server, "/v1/stats", &authorization).await;
        refused.problem(401, "unauthorized");
        assert!(!refused.text().contains(SECRET));
    }
}

#[tokio::test]
async fn without_a_token_only_loopback_is_listened_to() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let store = std::sync::Arc::new(MemoryStore::new());
    let refused = serve(listener, store, Options::default(), std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::TokenNeeded(_))), "{refused:?}");
}

#[tokio::test]
async fn without_a_token_only_loopback_hosts_are_answered() {
    let server = Server::start().await;
    let ask = async |host: &str| {
        let request = format!("GET /v1/stats HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        server.raw(request.as_bytes()).await
    };
    for host in ["localhost", "127.0.0.1:4470", "[::1]"] {
        let answer = ask(&format!("host: {host}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:4470", "localhost\r\nhost: evil.example"] {
        let answer = ask(&format!("host: {host}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
        assert!(answer.contains("forbidden_host"), "{host}: {answer}");
    }
    assert!(ask("").await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn only_json_is_appended() {
    let server = Server::start().await;
    let forms = ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""];
    for content_type in forms {
        for path in ["/v1/append", "/v1/streams/account-1"] {
            let mut request = server.request(Method::POST, path, r#"{"type":"A"}"#);
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
            let answer = Answer::of(server.send(request).await).await;
            answer.problem(415, "unsupported_media_type");
        }
    }
    let mut request = server.request(Method::POST, "/v1/streams/account-1", r#"{"type":"A"}"#);
    let charset = "Application/JSON; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", charset);
    Answer::of(server.send(request).await).await.ok();
}

#[tokio::test]
async fn every_answer_forbids_what_it_does_not_need() {
    let server = Server::start().await;
    for path in ["/", "/health", "/v1/events", "/nowhere", "/v1/events?typo=1"] {
        let answer = server.get(path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

/// A browser runs the page only when nothing in it needs more than its policy allows.
#[tokio::test]
async fn the_page_needs_nothing_but_itself() {
    let server = Server::start().await;
    let page = server.get("/").await.ok();
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'sha256-") && policy.contains("style-src 'sha256-"));
    assert!(!policy.contains("unsafe"));
    let text = page.text();
    assert_eq!((text.matches("<script").count(), text.matches("<style").count()), (1, 1));
    for forbidden in [
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "style=",
        "onclick=\"",
        "http://",
        "https://",
        "src=",
    ] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}
