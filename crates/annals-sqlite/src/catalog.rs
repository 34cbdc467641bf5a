//! The streams of the store, and its totals.

use annals_core::{Category, ReadError, Stats, StreamId, StreamInfo, StreamInfos};
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::{Connection, Result, Row};

use crate::fault::read_error;
use crate::number::{position, version};
use crate::reader::Readers;
use crate::stream::newest_position;

/// How many streams are fetched at once.
const PAGE_STREAMS: usize = 256;

pub(crate) fn streams(readers: Readers, category: Option<Category>) -> StreamInfos {
    let pages = stream::try_unfold(Some(String::new()), move |after| {
        let (readers, category) = (readers.clone(), category.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = readers
                .run(move |reader| {
                    page(&reader.connection, category.as_ref(), &after)
                        .map_err(|error| read_error("listing streams", error))
                })
                .await?;
            let next = (page.len() == PAGE_STREAMS)
                .then(|| page.last().map(|info| info.stream.as_str().to_owned()))
                .flatten();
            Ok::<_, ReadError>(Some((stream::iter(page).map(Ok), next)))
        }
    });
    Box::pin(pages.try_flatten())
}

pub(crate) async fn stats(readers: &Readers) -> Result<Stats, ReadError> {
    readers
        .run(|reader| stats_now(&reader.connection).map_err(|error| read_error("counting", error)))
        .await
}

fn stats_now(connection: &Connection) -> Result<Stats> {
    // Positions of this store have no gaps: nothing is deleted, and a transaction that fails
    // uses none up.
    let head = position(newest_position(connection)?);
    let streams = connection
        .prepare_cached("SELECT count(*) FROM annals_events WHERE version = 1")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    Ok(Stats {
        events: head.get(),
        streams: streams.unsigned_abs(),
        head,
    })
}

fn page(
    connection: &Connection,
    category: Option<&Category>,
    after: &str,
) -> Result<Vec<StreamInfo>> {
    // All streams of a category lie between `category` and `category.`, the next text that
    // does not continue with `-`.
    let low = category.map_or("", Category::as_str);
    let high = category.map(|category| format!("{category}."));
    let mut statement = connection.prepare_cached(
        "SELECT s.stream, last.version, last.position
         FROM annals_events s JOIN annals_events last
             ON last.stream = s.stream AND last.version =
                 (SELECT max(version) FROM annals_events WHERE stream = s.stream)
         WHERE s.version = 1 AND s.stream > ?1 AND s.stream >= ?2
             AND (?3 IS NULL OR s.stream < ?3) AND (?4 IS NULL OR s.category = ?4)
         ORDER BY s.stream LIMIT ?5",
    )?;
    let category = category.map(Category::as_str);
    let info = |row: &Row<'_>| {
        Ok(StreamInfo {
            stream: StreamId::from_stored(row.get::<_, String>(0)?),
            version: version(row.get(1)?),
            last_position: position(row.get(2)?),
        })
    };
    let count = i64::try_from(PAGE_STREAMS).unwrap_or(i64::MAX);
    statement
        .query_map((after, low, high, category, count), info)?
        .collect()
}
