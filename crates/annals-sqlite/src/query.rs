//! From a query to the lists of positions that answer it.
//!
//! The indexes hold one list for each type, for each type within a category, for each type
//! under a tag, and for each stream; whatever an item asks is an expression over those.

pub(crate) mod postings;

use annals_core::{Category, Direction, EventType, Query, QueryItem, StreamId, Tag};
use rusqlite::{Connection, OptionalExtension, Params, Result};

use crate::stream::version_at;
use postings::{Postings, Source};

/// Names a stored list of positions.
#[derive(Debug)]
pub(crate) enum Key {
    Category(Category, i64),
    Stream(StreamId),
    Tag(Tag, i64),
    Type(i64),
}

/// The stored lists, cut to the positions above `after` and up to `up_to`.
pub(crate) struct Lists<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) after: i64,
    pub(crate) up_to: i64,
    pub(crate) direction: Direction,
}

/// The expression for a query that does not match everything.
pub(crate) fn plan(connection: &Connection, query: &Query) -> Result<Postings<Key>> {
    let items = query.items().iter().map(|item| plan_item(connection, item));
    Ok(Postings::any(items.collect::<Result<Vec<_>>>()?))
}

/// The positions that answer a query, one after the other. What was found and not passed stays.
pub(crate) struct Members {
    postings: Postings<Key>,
    found: Vec<i64>,
    /// The one found last: the lists are only ever asked for what lies behind it.
    last: Option<i64>,
}

impl Members {
    pub(crate) fn of(postings: Postings<Key>) -> Self {
        Self { postings, found: Vec::new(), last: None }
    }

    /// Up to `count` of them, at least one if there are any.
    pub(crate) fn next(&mut self, lists: &Lists<'_>, count: usize) -> Result<&[i64]> {
        while self.found.len() < count {
            let from = match (self.last, lists.direction) {
                (Some(last), Direction::Forward) => last + 1,
                (Some(last), Direction::Backward) => last - 1,
                (None, Direction::Forward) => lists.after + 1,
                (None, Direction::Backward) => lists.up_to,
            };
            let Some(found) = self.postings.seek(lists, from, lists.direction)? else { break };
            self.last = Some(found);
            self.found.push(found);
        }
        Ok(&self.found[..count.min(self.found.len())])
    }

    /// Passes the first ones.
    pub(crate) fn pass(&mut self, count: usize) {
        self.found.drain(..count);
    }
}

/// The position of some event above `after` that matches, if there is one.
pub(crate) fn find_after(
    connection: &Connection,
    query: &Query,
    after: i64,
) -> Result<Option<i64>> {
    if query.is_all() {
        let newest = crate::stream::newest_position(connection)?;
        return Ok(Some(newest).filter(|&newest| newest > after));
    }
    let direction = Direction::Forward;
    let lists = Lists { connection, after, up_to: i64::MAX, direction };
    plan(connection, query)?.seek(&lists, after.saturating_add(1), direction)
}

/// An event has one type, so an item is a disjunction over the types that all its parts know,
/// and within a type a conjunction. Streams are the exception: no index knows their types.
fn plan_item(connection: &Connection, item: &QueryItem) -> Result<Postings<Key>> {
    let types = types_of_item(connection, item)?;
    if item.streams.is_empty() {
        let types = types.unwrap_or_default();
        return Ok(Postings::any(types.into_iter().map(|id| plan_type(item, id))));
    }
    let mut places: Vec<_> =
        item.streams.iter().cloned().map(|stream| Postings::list(Key::Stream(stream))).collect();
    for category in &item.categories {
        let types = types_in_category(connection, category)?;
        places.extend(
            types.into_iter().map(|id| Postings::list(Key::Category(category.clone(), id))),
        );
    }
    let mut parts = vec![Postings::any(places)];
    if let Some(types) = types {
        let everywhere = QueryItem { categories: Vec::new(), streams: Vec::new(), ..item.clone() };
        parts.push(Postings::any(types.into_iter().map(|id| plan_type(&everywhere, id))));
    }
    Ok(Postings::All(parts))
}

/// The events of one type that match an item without streams.
fn plan_type(item: &QueryItem, id: i64) -> Postings<Key> {
    let mut parts: Vec<_> =
        item.tags.iter().cloned().map(|tag| Postings::list(Key::Tag(tag, id))).collect();
    if !item.categories.is_empty() {
        let categories = item.categories.iter().cloned();
        parts.push(Postings::any(
            categories.map(|category| Postings::list(Key::Category(category, id))),
        ));
    }
    if parts.is_empty() {
        parts.push(Postings::list(Key::Type(id)));
    }
    Postings::All(parts)
}

/// The types that events matching an item can have; `None` when nothing is known of them.
fn types_of_item(connection: &Connection, item: &QueryItem) -> Result<Option<Vec<i64>>> {
    let mut types = type_ids(connection, &item.types)?;
    let mut narrow = |others: Vec<i64>| {
        let narrowed = types.take().map_or(others.clone(), |mut types| {
            types.retain(|id| others.contains(id));
            types
        });
        types = Some(narrowed);
    };
    for tag in &item.tags {
        narrow(types_under_tag(connection, tag)?);
    }
    if item.streams.is_empty() && !item.categories.is_empty() {
        let mut of_categories = Vec::new();
        for category in &item.categories {
            of_categories.extend(types_in_category(connection, category)?);
        }
        of_categories.sort_unstable();
        of_categories.dedup();
        narrow(of_categories);
    }
    Ok(types)
}

/// The ids of the types that are wanted and occur in the log; `None` when any type is.
fn type_ids(connection: &Connection, types: &[EventType]) -> Result<Option<Vec<i64>>> {
    if types.is_empty() {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached("SELECT id FROM annals_types WHERE name = ?1")?;
    let mut ids = Vec::with_capacity(types.len());
    for event_type in types {
        ids.extend(
            statement.query_row([event_type.as_str()], |row| row.get::<_, i64>(0)).optional()?,
        );
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

fn types_under_tag(connection: &Connection, tag: &Tag) -> Result<Vec<i64>> {
    distinct(
        connection,
        "SELECT type FROM annals_tags WHERE tag = ?1 AND type > ?2 ORDER BY type LIMIT 1",
        tag.as_str(),
    )
}

fn types_in_category(connection: &Connection, category: &Category) -> Result<Vec<i64>> {
    distinct(
        connection,
        "SELECT type FROM annals_events INDEXED BY annals_events_by_category
         WHERE category = ?1 AND type > ?2 ORDER BY type LIMIT 1",
        category.as_str(),
    )
}

/// The distinct types below a prefix of an index: one look-up each, however long the lists.
fn distinct(connection: &Connection, next: &str, prefix: &str) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(next)?;
    let mut types = Vec::new();
    let mut last = i64::MIN;
    while let Some(found) =
        statement.query_row((prefix, last), |row| row.get::<_, i64>(0)).optional()?
    {
        types.push(found);
        last = found;
    }
    Ok(types)
}

/// The same statement in both directions.
macro_rules! ordered {
    ($direction:expr, $select:literal, $by:literal) => {
        match $direction {
            Direction::Forward => concat!($select, " ORDER BY ", $by, " ASC"),
            Direction::Backward => concat!($select, " ORDER BY ", $by, " DESC"),
        }
    };
}

impl Source for Lists<'_> {
    type Key = Key;
    type Error = rusqlite::Error;

    fn fetch(&self, key: &Key, from: i64, count: usize) -> Result<Vec<i64>> {
        let (low, high) = match self.direction {
            Direction::Forward => (from.max(self.after.saturating_add(1)), self.up_to),
            Direction::Backward => (self.after.saturating_add(1), from.min(self.up_to)),
        };
        if low > high {
            return Ok(Vec::new());
        }
        match key {
            Key::Category(category, id) => self.positions(
                count,
                ordered!(
                    self.direction,
                    "SELECT position FROM annals_events INDEXED BY annals_events_by_category
                     WHERE position BETWEEN ?1 AND ?2 AND category = ?3 AND type = ?4",
                    "position"
                ),
                (low, high, category.as_str(), id),
            ),
            Key::Stream(stream) => {
                // Within a stream, position order is version order (S4).
                let low = version_at(self.connection, stream, low - 1)? + 1;
                let high = version_at(self.connection, stream, high)?;
                self.positions(
                    count,
                    ordered!(
                        self.direction,
                        "SELECT position FROM annals_events INDEXED BY annals_events_by_stream
                         WHERE version BETWEEN ?1 AND ?2 AND stream = ?3",
                        "version"
                    ),
                    (low, high, stream.as_str()),
                )
            }
            Key::Tag(tag, id) => self.positions(
                count,
                ordered!(
                    self.direction,
                    "SELECT position FROM annals_tags
                     WHERE position BETWEEN ?1 AND ?2 AND tag = ?3 AND type = ?4",
                    "position"
                ),
                (low, high, tag.as_str(), id),
            ),
            Key::Type(id) => self.positions(
                count,
                ordered!(
                    self.direction,
                    "SELECT position FROM annals_events INDEXED BY annals_events_by_type
                     WHERE position BETWEEN ?1 AND ?2 AND type = ?3",
                    "position"
                ),
                (low, high, id),
            ),
        }
    }
}

impl Lists<'_> {
    fn positions(&self, count: usize, select: &str, params: impl Params) -> Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(select)?;
        statement.query_map(params, |row| row.get(0))?.take(count).collect()
    }
}
