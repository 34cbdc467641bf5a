//! Who may talk to the server.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::http::App;
use crate::problem::Refusal;

/// The secret that clients show as `Authorization: Bearer …`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The fewest characters it may have.
    pub const CHARS_MIN: usize = 16;

    /// The token `secret`, white space around it aside.
    ///
    /// # Errors
    /// When it is shorter than [`CHARS_MIN`](Self::CHARS_MIN) or could not stand in a header.
    pub fn new(secret: &str) -> Result<Self, InvalidToken> {
        let secret = secret.trim();
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidToken::NotPrintable);
        }
        if secret.len() < Self::CHARS_MIN {
            return Err(InvalidToken::TooShort);
        }
        Ok(Self(secret.to_owned()))
    }

    /// Whether `shown` is the token, in a time that does not tell how much of it is right.
    fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// It holds something else than printable ASCII.
    #[error("the token may only hold printable ASCII characters, and no spaces")]
    NotPrintable,
    /// It could be guessed.
    #[error(
        "the token has fewer than {} characters; make one with: openssl rand -hex 32",
        Token::CHARS_MIN
    )]
    TooShort,
}

/// The page and the health check hold no data, and browsers and probes cannot log in.
const OPEN_PATHS: [&str; 2] = ["/", "/health"];

/// Lets a request through, or refuses it before anything of it is looked at.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let admitted = match &app.options.token {
        None => shows_loopback_host(request.headers()),
        Some(_) if OPEN_PATHS.contains(&request.uri().path()) => Ok(()),
        Some(token) => shows_token(request.headers(), token),
    };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn shows_token(headers: &HeaderMap, token: &Token) -> Result<(), Refusal> {
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match shown {
        Some((_, secret)) if token.is(secret.trim()) => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A token is needed",
            "send the server's token as `Authorization: Bearer …`",
        )),
    }
}

/// Without a token, whoever reaches the loopback interface may do everything. A web page of a
/// stranger reaches it too, by letting its own name point there (DNS rebinding); its requests
/// then carry that name as their host.
fn shows_loopback_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(|value| value.to_str()), hosts.next()) {
        (Some(Ok(host)), None) if is_loopback(host) => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "forbidden_host",
            "Not a loopback host",
            "this server answers only to localhost, 127.0.0.1 and [::1]; to serve other hosts, \
             start it with a token",
        )),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|loopback| name.eq_ignore_ascii_case(loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_loopback() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:4470", "[::1]", "[::1]:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org:80",
            "127.0.0.1:80@example.org",
            "::1",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeg"));
        assert!(!token.is("0123456789abcde"));
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn weak_tokens_are_refused() {
        assert_eq!(Token::new("short").unwrap_err(), InvalidToken::TooShort);
        assert_eq!(Token::new("0123456789 abcdef").unwrap_err(), InvalidToken::NotPrintable);
    }
}
