//! What happens to an issue while somebody looks at it, as server-sent events.

use std::time::Duration;

use annals_feed::{FeedError, Filter, LiveCursor, LiveNotice, sse};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::caller::Caller;
use super::entries::{comment, described, named, time, titles, zoned};
use super::issues::stream_of;
use super::problem::Problem;
use crate::tracker::Tracker;

/// After how much silence a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct From {
    after: Option<String>,
}

pub(super) async fn issue(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(From { after }): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A browser that lost the connection says where it was.
    let last =
        headers.get("last-event-id").and_then(|value| value.to_str().ok().map(str::to_owned));
    let after = last.or(after).map(|cursor| cursor.parse::<LiveCursor>()).transpose();
    let after = after.map_err(Problem::bad_request)?;
    let filter = Filter::new().in_stream(stream_of(&id)?);
    let notices = tracker.feed().live(tracker.annals(), filter, after)?;
    let stopping = tracker.stopping();
    let lines = stream::unfold(notices, |mut notices| async {
        let next = timeout(HEARTBEAT, notices.next()).await;
        match next {
            Err(_) => Some((Ok(None), notices)),
            Ok(notice) => notice.map(|notice| (notice.map(Some), notices)),
        }
    });
    let told = lines.and_then(move |notice| {
        let (tracker, caller) = (tracker.clone(), caller.clone());
        async move { Ok::<_, FeedError>(line(&tracker, &caller, notice).await) }
    });
    let body = Body::from_stream(Box::pin(told.take_until(stopping)));
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((kind, body).into_response())
}

async fn line(tracker: &Tracker, caller: &Caller, notice: Option<LiveNotice>) -> Bytes {
    let Some(notice) = notice else { return sse::HEARTBEAT };
    let LiveNotice::Entry(cursor, entry) = &notice else { return sse::notice(&notice) };
    // Without its title an entry has the issue's id.
    let titles = titles(tracker, [&**entry]).await.unwrap_or_default();
    let at = entry.occurred_at;
    let date = zoned(at, tracker.zone()).date();
    let told = json!({
        "event": entry.event,
        "date": date,
        "day": named(date),
        "time": time(at, tracker.zone()),
        "text": described(tracker, caller, &titles, entry),
        "comment": comment(entry),
    });
    format!("id: {cursor}\nevent: entry\ndata: {told}\n\n").into()
}
