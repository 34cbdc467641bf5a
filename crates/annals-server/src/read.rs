//! Reading over HTTP: a page at a time, or everything in lines.

use annals_api::Event;
use annals_core::{Direction, EventStream, Read, ReadError, RecordedEvent, Scope};
use async_stream::stream;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};

use crate::append::stream_of;
use crate::http::{App, typed, wants_lines};
use crate::params::Params;
use crate::problem::Refusal;

/// Lines are sent together until they have so many bytes, as long as more are ready.
const CHUNK_BYTES: usize = 64 * 1024;

/// `GET /v1/events`
pub(crate) async fn events(
    State(app): State<App>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let mut read = Read::query(params.query()?);
    read.after = params.position("after")?.unwrap_or(read.after);
    read.up_to = params.position("up_to")?.unwrap_or(read.up_to);
    answer(&app, read, params, &uri, &headers).await
}

/// `GET /v1/streams/{stream}`
pub(crate) async fn stream(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let mut read = Read::stream(stream_of(path)?);
    read.from_version = params.version("from_version")?.unwrap_or(read.from_version);
    read.to_version = params.version("to_version")?.unwrap_or(read.to_version);
    answer(&app, read, params, &uri, &headers).await
}

/// Reads the parameters that both routes know, and answers in the form that was asked for.
async fn answer(
    app: &App,
    mut read: Read,
    mut params: Params,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    read.as_at = params.as_at()?;
    read.direction = params.direction()?;
    read.limit = params.one("limit")?;
    params.refuse_others()?;
    if wants_lines(headers) {
        return lines(app.store.read(read)).await;
    }
    let page = read_page(app, read.clone()).await?;
    let next = page
        .last
        .filter(|_| page.more)
        .map(|last| format!("{}?{}", uri.path(), next_query(&params, &read, &last)));
    Ok(page_of("events", &page.events, next.as_deref()))
}

/// The part of a read that one page has room for.
struct Page {
    events: Vec<Vec<u8>>,
    last: Option<RecordedEvent>,
    more: bool,
}

async fn read_page(app: &App, mut read: Read) -> Result<Page, Refusal> {
    let limit = app.options.page_limit(read.limit)?;
    // One more than asked for, to know whether there is a next page.
    read.limit = Some(limit.saturating_add(1));
    let mut source = app.store.read(read);
    let mut page = Page { events: Vec::new(), last: None, more: false };
    let mut bytes = 0;
    while let Some(event) = source.try_next().await? {
        if page.events.len() as u64 == limit || bytes >= app.options.page_bytes_max {
            page.more = true;
            break;
        }
        let json = Event::of(&event).map_err(ReadError::Corrupt)?.to_json();
        bytes += json.len();
        page.events.push(json);
        page.last = Some(event);
    }
    Ok(page)
}

/// The parameters that go on where `last` left off.
fn next_query(params: &Params, read: &Read, last: &RecordedEvent) -> String {
    let (version, position) = (last.version, last.position);
    match (&read.scope, read.direction) {
        (Scope::Stream(_), Direction::Forward) => params.with("from_version", version.next()),
        (Scope::Stream(_), Direction::Backward) => {
            params.with("to_version", version.get().saturating_sub(1))
        }
        (Scope::Query(_), Direction::Forward) => params.with("after", position),
        (Scope::Query(_), Direction::Backward) => {
            params.with("up_to", position.get().saturating_sub(1))
        }
    }
}

/// A page: the list `name` of JSON values, and where the next page is.
pub(crate) fn page_of(name: &str, items: &[Vec<u8>], next: Option<&str>) -> Response {
    let bytes: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut body = Vec::with_capacity(bytes + 128);
    body.extend_from_slice(format!("{{\"{name}\":[").as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(item);
    }
    let next = serde_json::to_string(&next).expect("text always serialises");
    body.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
    typed("application/json", body)
}

/// All events of a read, one a line, as fast as the client takes them.
///
/// An error before the first event is answered as a problem. A later one breaks the answer off,
/// so that no client takes a part for the whole.
async fn lines(mut events: EventStream) -> Result<Response, Refusal> {
    let first = events.next().await.transpose()?;
    let first = first.map(|event| line(&event)).transpose()?;
    let rest = events.map(|event| event.and_then(|event| line(&event)));
    let all = futures_util::stream::iter(first.map(Ok)).chain(rest);
    Ok(typed("application/x-ndjson", Body::from_stream(chunks(all))))
}

fn line(event: &RecordedEvent) -> Result<Vec<u8>, ReadError> {
    let mut line = Event::of(event).map_err(ReadError::Corrupt)?.to_json_line();
    line.push(b'\n');
    Ok(line)
}

/// Joins what is ready into chunks, so that small lines do not each cost a write.
pub(crate) fn chunks(
    lines: impl Stream<Item = Result<Vec<u8>, ReadError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
    stream! {
        let mut lines = Box::pin(lines);
        let mut chunk = Vec::new();
        loop {
            let next = if chunk.is_empty() {
                Some(lines.next().await)
            } else {
                lines.next().now_or_never()
            };
            match next {
                Some(Some(Ok(line))) => {
                    chunk.extend_from_slice(&line);
                    if chunk.len() < CHUNK_BYTES {
                        continue;
                    }
                }
                Some(Some(Err(error))) => {
                    tracing::error!("a read broke off: {error}");
                    yield Ok(chunk.into());
                    yield Err(error);
                    return;
                }
                Some(None) => {
                    yield Ok(chunk.into());
                    return;
                }
                None => {}
            }
            yield Ok(std::mem::take(&mut chunk).into());
        }
    }
}
