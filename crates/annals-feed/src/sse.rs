//! Server-sent events: the text of a live feed.

use bytes::Bytes;

use crate::LiveNotice;

/// A comment that keeps a connection alive.
pub const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\n\n");

/// The text of a notice. An entry is an event `entry`. Being caught up is only an `id:`, which
/// moves what a browser sends as `Last-Event-ID`, and dispatches nothing.
#[must_use]
pub fn notice(notice: &LiveNotice) -> Bytes {
    match notice {
        LiveNotice::Entry(cursor, entry) => {
            // JSON has no line breaks.
            let json = serde_json::to_string(entry).expect("an entry is JSON");
            format!("id: {cursor}\nevent: entry\ndata: {json}\n\n").into()
        }
        LiveNotice::CaughtUp(cursor) => format!("id: {cursor}\n\n").into(),
    }
}
