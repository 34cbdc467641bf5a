//! What stands around every page.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, Response};
use maud::{DOCTYPE, Markup, html};

use super::caller::Caller;

/// Nothing from elsewhere, nothing inline: were a page to show somebody's text as HTML after all,
/// a script in it would not run.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const PAGES: [(&str, &str); 7] = [
    ("/issues", "Issues"),
    ("/people", "People"),
    ("/audit", "Audit"),
    ("/metrics", "Metrics"),
    ("/inboxes", "Inboxes"),
    ("/rules", "Rules"),
    ("/webhooks", "Webhooks"),
];

/// A page with this title and content.
#[expect(clippy::needless_pass_by_value, reason = "a page is made once")]
pub(super) fn page(title: &str, caller: &Caller, content: Markup) -> Html<String> {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tracker" }
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
            }
            body {
                header {
                    nav {
                        strong { a href="/" { "Tracker" } }
                        @for (path, name) in PAGES { a href=(path) { (name) } }
                    }
                    @match &caller.who {
                        Some(who) => span { "You are " a href={ "/people/" (who) } { (who) } },
                        None => a href="/people" { "Say who you are" },
                    }
                }
                main {
                    @if caller.is_behind {
                        p.note role="status" {
                            "What you did is recorded, but this page does not show it yet. \
                             Load it again in a moment."
                        }
                    }
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(document.into_string())
}

/// Says to browsers what they must not do.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
