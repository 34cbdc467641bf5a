//! From a query to SQL that finds its events in log order, without sorting the log.
//!
//! Each item of a query becomes branches, and each branch is a walk along one index that has the
//! positions in order: that of a tag, a type or a category. What else the item names is a filter
//! along the way. Several branches are merged. A stream's events are found by version, which
//! rises with the position.

use annals_core::{Category, Direction, EventType, Query, QueryItem, StreamId, Tag, Timestamp};

use crate::moment::Moment;
use crate::sql::Sql;

/// More branches than this are not merged; the log is walked along and filtered instead.
const BRANCHES_MAX: usize = 64;

/// What a read moves along.
#[derive(Debug, Clone)]
pub(crate) enum Track {
    /// All events.
    Log,
    /// All events, except those that do not match.
    Filtered(Query),
    /// One index.
    One(Branch),
    /// Several, merged.
    Merged(Vec<Branch>),
    /// One stream by version.
    Stream(StreamId, Vec<EventType>),
    /// No events.
    Nowhere,
}

/// A walk along one index.
#[derive(Debug, Clone)]
pub(crate) enum Branch {
    Category(Category, Vec<EventType>),
    Stream(StreamId, Vec<EventType>),
    Tags(QueryItem),
    Type(EventType, Vec<Category>),
}

/// The part of a track to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Behind this position, or version.
    pub(crate) low: i64,
    /// Up to this one.
    pub(crate) high: i64,
    /// An event that was there when the read began: a server that does not have it is not asked.
    pub(crate) seen: i64,
    pub(crate) direction: Direction,
    pub(crate) as_at: Option<Timestamp>,
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl Track {
    pub(crate) fn of(query: &Query) -> Self {
        if query.is_all() {
            return Self::Log;
        }
        let mut branches: Vec<Branch> = query.items().iter().flat_map(branches).collect();
        match branches.len() {
            0 => Self::Nowhere,
            1 => match branches.remove(0) {
                Branch::Stream(stream, types) => Self::Stream(stream, types),
                branch => Self::One(branch),
            },
            2..=BRANCHES_MAX => Self::Merged(branches),
            _ => Self::Filtered(query.clone()),
        }
    }
}

fn branches(item: &QueryItem) -> Vec<Branch> {
    let QueryItem { types, tags, categories, streams } = item;
    if !tags.is_empty() {
        return vec![Branch::Tags(item.clone())];
    }
    if streams.is_empty() && !types.is_empty() {
        return types.iter().map(|name| Branch::Type(name.clone(), categories.clone())).collect();
    }
    let streams = streams.iter().map(|stream| Branch::Stream(stream.clone(), types.clone()));
    let categories = categories.iter().map(|name| Branch::Category(name.clone(), types.clone()));
    streams.chain(categories).collect()
}

/// The statement for some events of a track, in order. When `with_last` is set every row also
/// has, behind its columns, the version of the stream's last event.
pub(crate) fn page(track: &Track, bounds: &Bounds, columns: &'static str, with_last: bool) -> Sql {
    let place = place(track);
    let mut sql = Sql::new();
    sql.push("SELECT ").push(columns);
    if let (true, Track::Stream(stream, _)) = (with_last, track) {
        sql.push(", (SELECT l.version FROM {schema}.events l WHERE l.stream = ");
        sql.bind(stream.as_str()).push(" ORDER BY l.version DESC LIMIT 1)");
    }
    sql.push(" FROM (SELECT e.*, ").push(place).push(" AS place, ");
    // How many bytes stand before each row: ends the page where it is full, in the server.
    sql.push("sum(").push(BYTES).push(") OVER (");
    order(&mut sql, place, bounds.direction);
    sql.push(" ROWS UNBOUNDED PRECEDING) - ").push(BYTES).push(" AS bytes_before FROM ");
    source(&mut sql, track, bounds);
    as_at(&mut sql, bounds);
    order(&mut sql, place, bounds.direction);
    sql.push(" LIMIT ").bind(bounds.rows);
    sql.push(") e WHERE e.bytes_before < ").bind(bounds.bytes);
    if bounds.seen > 0 {
        sql.push(" AND {schema}.holds(").bind(bounds.seen).push(")");
    }
    order(&mut sql, "e.place", bounds.direction);
    sql
}

const BYTES: &str = "(octet_length(e.data) + coalesce(octet_length(e.metadata::text), 0))";

/// What a track is in the order of, in words that let the planner see that it is.
fn place(track: &Track) -> &'static str {
    match track {
        Track::Stream(..) => "e.version",
        Track::One(Branch::Tags(_)) | Track::Merged(_) => "p.position",
        _ => "e.position",
    }
}

fn order(sql: &mut Sql, by: &'static str, direction: Direction) {
    sql.push(" ORDER BY ").push(by);
    if direction == Direction::Backward {
        sql.push(" DESC");
    }
}

/// `FROM … WHERE …`, with the events as `e`.
fn source(sql: &mut Sql, track: &Track, bounds: &Bounds) {
    match track {
        Track::Log => {
            sql.push("{schema}.events e WHERE ");
            between(sql, "e.position > ", " AND e.position <= ", bounds);
        }
        Track::Filtered(query) => {
            sql.push("{schema}.events e WHERE ");
            between(sql, "e.position > ", " AND e.position <= ", bounds);
            sql.push(" AND (false");
            for item in query.items() {
                sql.push(" OR (true");
                any_type(sql, " AND e.type = ANY(", &item.types);
                if !item.tags.is_empty() {
                    sql.push(" AND e.tags @> ").bind(texts(&item.tags, Tag::as_str));
                }
                anywhere(sql, &item.categories, &item.streams);
                sql.push(")");
            }
            sql.push(")");
        }
        Track::Stream(stream, types) => {
            sql.push("{schema}.events e WHERE e.stream = ").bind(stream.as_str()).push(" AND ");
            between(sql, "e.version > ", " AND e.version <= ", bounds);
            any_type(sql, " AND e.type = ANY(", types);
        }
        Track::One(Branch::Type(name, categories)) => {
            sql.push("{schema}.events e WHERE ");
            by_type(sql, name, categories, bounds);
        }
        Track::One(Branch::Category(name, types)) => {
            sql.push("{schema}.events e WHERE ");
            by_category(sql, name, types, bounds);
        }
        Track::One(branch) => {
            sql.push("(");
            positions(sql, branch, bounds);
            order(sql, "1", bounds.direction);
            events_of_positions(sql);
        }
        Track::Merged(branches) => {
            sql.push("(SELECT DISTINCT u.position FROM (");
            for (number, branch) in branches.iter().enumerate() {
                sql.push(if number == 0 { "(" } else { ") UNION ALL (" });
                positions(sql, branch, bounds);
                // No more of a branch than a page has: else the planner would look at all of it.
                let by = if matches!(branch, Branch::Stream(..)) { "e.version" } else { "1" };
                order(sql, by, bounds.direction);
                sql.push(" LIMIT ").bind(bounds.rows);
            }
            sql.push(")) u");
            order(sql, "u.position", bounds.direction);
            sql.push(" LIMIT ").bind(bounds.rows);
            events_of_positions(sql);
        }
        Track::Nowhere => {
            sql.push("{schema}.events e WHERE false");
        }
    }
}

/// Looks the events up one after the other, so that their order stays that of the positions.
fn events_of_positions(sql: &mut Sql) {
    sql.push(
        ") p CROSS JOIN LATERAL (SELECT * FROM {schema}.events x WHERE x.position = p.position \
         OFFSET 0) e WHERE true",
    );
}

/// `SELECT position` of a branch.
fn positions(sql: &mut Sql, branch: &Branch, bounds: &Bounds) {
    match branch {
        Branch::Type(name, categories) => {
            sql.push("SELECT e.position FROM {schema}.events e WHERE ");
            by_type(sql, name, categories, bounds);
        }
        Branch::Category(name, types) => {
            sql.push("SELECT e.position FROM {schema}.events e WHERE ");
            by_category(sql, name, types, bounds);
        }
        Branch::Tags(item) => {
            sql.push("SELECT t.position FROM {schema}.tags t WHERE t.tag = ");
            sql.bind(item.tags[0].as_str()).push(" AND ");
            between(sql, "t.position > ", " AND t.position <= ", bounds);
            any_type(sql, " AND t.type = ANY(", &item.types);
            for tag in &item.tags[1..] {
                sql.push(" AND EXISTS (SELECT FROM {schema}.tags o WHERE o.tag = ");
                sql.bind(tag.as_str()).push(" AND o.position = t.position)");
            }
            if !item.is_anywhere() || bounds.as_at.is_some() {
                sql.push(
                    " AND EXISTS (SELECT FROM {schema}.events e WHERE e.position = t.position",
                );
                anywhere(sql, &item.categories, &item.streams);
                as_at(sql, bounds);
                sql.push(")");
            }
        }
        Branch::Stream(stream, types) => {
            let name = stream.as_str();
            sql.push("SELECT e.position FROM {schema}.events e WHERE e.stream = ").bind(name);
            sql.push(" AND e.version > {schema}.version_at(").bind(name).push(", ");
            sql.bind(bounds.low).push(") AND e.version <= {schema}.version_at(").bind(name);
            sql.push(", ").bind(bounds.high).push(")");
            any_type(sql, " AND e.type = ANY(", types);
            as_at(sql, bounds);
        }
    }
}

fn as_at(sql: &mut Sql, bounds: &Bounds) {
    if let Some(moment) = bounds.as_at {
        sql.push(" AND e.recorded_at <= ").bind(Moment(moment));
    }
}

fn by_type(sql: &mut Sql, name: &EventType, categories: &[Category], bounds: &Bounds) {
    sql.push("e.type = ").bind(name.as_str()).push(" AND ");
    between(sql, "e.position > ", " AND e.position <= ", bounds);
    anywhere(sql, categories, &[]);
    as_at(sql, bounds);
}

fn by_category(sql: &mut Sql, name: &Category, types: &[EventType], bounds: &Bounds) {
    sql.push("e.category = ").bind(name.as_str()).push(" AND ");
    between(sql, "e.position > ", " AND e.position <= ", bounds);
    any_type(sql, " AND e.type = ANY(", types);
    as_at(sql, bounds);
}

fn between(sql: &mut Sql, low: &'static str, high: &'static str, bounds: &Bounds) {
    sql.push(low).bind(bounds.low).push(high).bind(bounds.high);
}

fn any_type(sql: &mut Sql, clause: &'static str, types: &[EventType]) {
    if !types.is_empty() {
        sql.push(clause).bind(texts(types, EventType::as_str)).push(")");
    }
}

/// In any of the categories or streams, when some are named.
fn anywhere(sql: &mut Sql, categories: &[Category], streams: &[StreamId]) {
    if !categories.is_empty() || !streams.is_empty() {
        sql.push(" AND (e.category = ANY(").bind(texts(categories, Category::as_str));
        sql.push(") OR e.stream = ANY(").bind(texts(streams, StreamId::as_str)).push("))");
    }
}

fn texts<T>(names: &[T], text: impl Fn(&T) -> &str) -> Vec<&str> {
    names.iter().map(text).collect()
}
