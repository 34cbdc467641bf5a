//! The streams of the store, and its totals.

use annals_core::{Category, ListStreams, ReadError, Stats, StreamId, StreamInfo, StreamInfos};
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::fault::read_error;
use crate::number::{position, version};
use crate::reader::Readers;
use crate::stream::newest_position;

/// How many streams are fetched at once.
const PAGE_STREAMS: usize = 256;

pub(crate) fn streams(readers: Readers, list: ListStreams) -> StreamInfos {
    let ListStreams { category, after, .. } = list;
    let start = category.as_ref().map_or("", Category::as_str).to_owned();
    let start = after.map_or(String::new(), |after| behind(after.as_str())).max(start);
    let pages = stream::try_unfold(Some(start), move |from| {
        let (readers, category) = (readers.clone(), category.clone());
        async move {
            let Some(from) = from else { return Ok(None) };
            let page = readers
                .run(move |reader| {
                    page(&reader.connection, category.as_ref(), from)
                        .map_err(|error| read_error("listing streams", error))
                })
                .await?;
            let next = (page.len() == PAGE_STREAMS)
                .then(|| page.last().map(|info| behind(info.stream.as_str())))
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
        .prepare_cached("SELECT streams FROM annals_totals")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    Ok(Stats { events: head.get(), streams: streams.unsigned_abs(), head })
}

/// Some streams from the name `from` on: two look-ups each, however long they are.
fn page(
    connection: &Connection,
    category: Option<&Category>,
    mut from: String,
) -> Result<Vec<StreamInfo>> {
    let mut next = connection.prepare_cached(
        "SELECT stream FROM annals_events WHERE stream >= ?1 ORDER BY stream LIMIT 1",
    )?;
    let dashed = category.map(|category| format!("{category}-"));
    let mut infos = Vec::new();
    while infos.len() < PAGE_STREAMS {
        let name = next.query_row([&from], |row| row.get::<_, String>(0)).optional()?;
        let Some(name) = name else { break };
        let stream = StreamId::from_stored(name);
        if category.is_none_or(|category| stream.category() == *category) {
            from = behind(stream.as_str());
            infos.push(info(connection, &stream)?);
        } else if let Some(dashed) = dashed.as_deref().filter(|dashed| stream.as_str() < *dashed) {
            // Other names stand between `account` and `account-1`: `account!` for example.
            dashed.clone_into(&mut from);
        } else {
            break;
        }
    }
    Ok(infos)
}

fn info(connection: &Connection, stream: &StreamId) -> Result<StreamInfo> {
    let mut last = connection.prepare_cached(
        "SELECT version, position FROM annals_events WHERE stream = ?1
         ORDER BY version DESC LIMIT 1",
    )?;
    last.query_row([stream.as_str()], |row| {
        Ok(StreamInfo {
            stream: stream.clone(),
            version: version(row.get(0)?),
            last_position: position(row.get(1)?),
        })
    })
}

/// The first text behind a name; names hold no control characters.
fn behind(name: &str) -> String {
    format!("{name}\0")
}
