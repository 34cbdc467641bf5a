//! The streams of the store, and its totals.

use std::sync::Arc;

use annals_core::{
    Category, ListStreams, Position, ReadError, Stats, StreamId, StreamInfo, StreamInfos,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx_core::query_as::query_as;
use sqlx_postgres::Postgres;
use tokio::sync::Mutex;

use crate::connections::LONG;
use crate::fault::read_error;
use crate::number::{position, stored_position, version};
use crate::read::Source;

/// How many streams are fetched at once.
const PAGE_STREAMS: i64 = 256;

/// From name to name along the index, however many events stand between them.
const STREAMS: &str = "WITH RECURSIVE names(stream) AS (
    (SELECT e.stream FROM {schema}.events e
     WHERE e.stream > $1 AND e.stream >= $2 AND e.stream < $3 ORDER BY e.stream LIMIT 1)
    UNION ALL
    SELECT (SELECT e.stream FROM {schema}.events e
            WHERE e.stream > n.stream AND e.stream < $3 ORDER BY e.stream LIMIT 1)
    FROM names n WHERE n.stream IS NOT NULL
)
SELECT n.stream, l.version, l.position
FROM (SELECT stream FROM names WHERE stream IS NOT NULL LIMIT $4) n
CROSS JOIN LATERAL (SELECT e.version, e.position FROM {schema}.events e
                    WHERE e.stream = n.stream ORDER BY e.version DESC LIMIT 1) l";

/// Behind every name: names hold no control characters, and U+10FFFF sorts last.
const LAST: &str = "\u{10FFFF}\u{10FFFF}";

/// Names from the first up to, but not including, the second.
type Range = (String, String);

pub(crate) fn streams(source: Arc<Source>, list: ListStreams) -> StreamInfos {
    let ListStreams { category, after, .. } = list;
    let after = after.map_or(String::new(), |after| after.as_str().to_owned());
    let ranges = ranges(category.as_ref());
    let pages = stream::try_unfold((ranges, after), move |(mut ranges, mut after)| {
        let source = Arc::clone(&source);
        async move {
            let Some(range) = ranges.last() else { return Ok(None) };
            let page = source.streams(range, &after).await?;
            match page.last() {
                Some(last) => last.stream.as_str().clone_into(&mut after),
                None => drop(ranges.pop()),
            }
            Ok::<_, ReadError>(Some((stream::iter(page).map(Ok), (ranges, after))))
        }
    });
    Box::pin(pages.try_flatten())
}

/// Where the names of a category's streams are, the last range first: between `account` and
/// `account-1` there may be others, `account!` for example.
fn ranges(category: Option<&Category>) -> Vec<Range> {
    match category {
        None => vec![(String::new(), LAST.to_owned())],
        Some(name) => {
            let dashed = (format!("{name}-"), format!("{name}."));
            vec![dashed, (name.to_string(), format!("{name}\u{1}"))]
        }
    }
}

impl Source {
    async fn streams(&self, (from, to): &Range, after: &str) -> Result<Vec<StreamInfo>, ReadError> {
        let rows = self.connections.read(async |mut connection| {
            let rows = query_as::<Postgres, (String, i64, i64)>(self.schema.statement(STREAMS))
                .bind(after)
                .bind(from)
                .bind(to)
                .bind(PAGE_STREAMS)
                .fetch_all(&mut *connection)
                .await;
            (connection, rows)
        });
        let rows = rows.await.map_err(|error| read_error("listing streams", error))?;
        let info = |(stream, last, at): (String, i64, i64)| StreamInfo {
            stream: StreamId::from_stored(stream),
            version: version(last),
            last_position: position(at),
        };
        Ok(rows.into_iter().map(info).collect())
    }
}

/// What was counted before: up to the head nothing ever changes.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<(Position, u64, u64)>);

impl Counted {
    /// Counts what has come since the last time.
    pub(crate) async fn stats(&self, source: &Source) -> Result<Stats, ReadError> {
        let mut counted = self.0.lock().await;
        let head = source.watermark.covering(Position::END).await?.head;
        let select = "SELECT count(*), count(*) FILTER (WHERE e.version = 1) FROM {schema}.events e
             WHERE e.position > $1 AND e.position <= $2";
        let from = stored_position(counted.0);
        let totals = source.connections.read_within(LONG, async |mut connection| {
            let totals = query_as::<Postgres, (i64, i64)>(source.schema.statement(select))
                .bind(from)
                .bind(stored_position(head))
                .fetch_one(&mut *connection)
                .await;
            (connection, totals)
        });
        let (events, streams) = totals.await.map_err(|error| read_error("counting", error))?;
        *counted = (head, counted.1 + events.unsigned_abs(), counted.2 + streams.unsigned_abs());
        Ok(Stats { events: counted.1, streams: counted.2, head })
    }
}
