//! A group of appends as one statement: what goes to the server and what comes back.
//!
//! The statement is the function `append` of the schema, which checks and writes all of them in
//! one round trip.

use annals_core::{
    Append, AppendCondition, AppendError, Conflict, ContentType, ExpectedVersion, Receipt,
    StreamReceipt, Tags, Timestamp, Version,
};
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_postgres::{PgConnection, PgRow};

use crate::keys::Keys;
use crate::moment::Moment;
use crate::number::{count, position, stored_position, stored_version, version};
use crate::row::get;
use crate::schema::SchemaName;

/// The most events of a group: an event's place in it is part of its position.
pub(crate) const GROUP_EVENTS_MAX: usize = 4_096;

/// How an append ended inside a transaction that can still be committed.
pub(crate) type Outcome = Result<Receipt, AppendError>;

/// What the server says to a group.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Others hold these keys; nothing was done.
    Busy(Vec<i64>),
    /// Some of the events are stored already; nothing was done.
    Stored,
    /// One outcome for each append.
    Done(Vec<Outcome>),
}

/// How long to wait for locks that others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locks {
    /// Not at all.
    Try,
    /// A moment; then it is an error of the server (`lock_not_available`).
    Briefly,
    /// As long as the session does.
    Wait,
}

impl Locks {
    fn millis(self) -> Option<i32> {
        match self {
            Self::Try => Some(0),
            Self::Briefly => Some(100),
            Self::Wait => None,
        }
    }
}

/// Sends independent appends: no two have an event id in common, and no condition of one matches
/// an event of another.
///
/// Without a transaction around it the group is committed when this returns.
pub(crate) async fn send(
    connection: &mut PgConnection,
    schema: &SchemaName,
    appends: &[&Append],
    keys: &Keys,
    locks: Locks,
    moment: Option<Timestamp>,
) -> Result<Answer, Error> {
    let text = schema.statement(
        "SELECT busy, stored, recorded, base, firsts, versions, wrong_part, broken
         FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                              $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)",
    );
    let group = Group::of(appends);
    let (keys, alone) = keys.columns();
    let statement = query(text)
        .bind(locks.millis())
        .bind(moment.map(Moment))
        .bind(keys)
        .bind(alone)
        .bind(&group.streams)
        .bind(&group.append_parts)
        .bind(&group.part_stream)
        .bind(&group.part_expected)
        .bind(&group.part_events)
        .bind(&group.condition_append)
        .bind(&group.condition_after)
        .bind(&group.item_condition)
        .bind(&group.item_types)
        .bind(&group.item_tags)
        .bind(&group.item_categories)
        .bind(&group.item_streams)
        .bind(&group.ids)
        .bind(&group.event_part)
        .bind(&group.event_offset)
        .bind(&group.event_index)
        .bind(&group.types)
        .bind(&group.schema_versions)
        .bind(&group.occurred)
        .bind(&group.content_types)
        .bind(&group.tag_lines)
        .bind(&group.metadatas)
        .bind(&group.datas);
    // Read to the end, which comes after the commit.
    let row = statement.fetch_one(connection).await?;
    answer(appends, &row)
}

/// A group as columns.
#[derive(Default)]
struct Group<'a> {
    streams: Vec<&'a str>,
    append_parts: Vec<i32>,
    part_stream: Vec<i32>,
    part_expected: Vec<i64>,
    part_events: Vec<i32>,
    condition_append: Vec<i32>,
    condition_after: Vec<i64>,
    item_condition: Vec<i32>,
    item_types: Vec<Option<String>>,
    item_tags: Vec<Option<String>>,
    item_categories: Vec<Option<String>>,
    item_streams: Vec<Option<String>>,
    ids: Vec<uuid::Uuid>,
    event_part: Vec<i32>,
    event_offset: Vec<i32>,
    event_index: Vec<i32>,
    types: Vec<&'a str>,
    schema_versions: Vec<i64>,
    occurred: Vec<Option<Moment>>,
    content_types: Vec<Option<&'a str>>,
    tag_lines: Vec<Option<String>>,
    metadatas: Vec<Option<&'a str>>,
    datas: Vec<&'a [u8]>,
}

impl<'a> Group<'a> {
    fn of(appends: &[&'a Append]) -> Self {
        let mut group = Self::default();
        let mut known = std::collections::HashMap::new();
        for (number, append) in (1..).zip(appends) {
            group.append_parts.push(count(append.streams.len()));
            let mut index = 0;
            for part in &append.streams {
                let name = part.stream.as_str();
                let place = *known.entry(name).or_insert_with(|| {
                    group.streams.push(name);
                    count(group.streams.len())
                });
                group.part_stream.push(place);
                group.part_expected.push(stored_expected(part.expected));
                group.part_events.push(count(part.events.len()));
                for (offset, event) in (0..).zip(&part.events) {
                    group.event(event, offset, index);
                    index += 1;
                }
            }
            for condition in &append.conditions {
                group.condition(number, condition);
            }
        }
        group
    }

    fn event(&mut self, event: &'a annals_core::NewEvent, offset: i32, index: i32) {
        self.ids.push(uuid::Uuid::from_bytes(*event.id.as_bytes()));
        self.event_part.push(count(self.part_stream.len()));
        self.event_offset.push(offset);
        self.event_index.push(index);
        self.types.push(event.event_type.as_str());
        self.schema_versions.push(event.schema_version.into());
        self.occurred.push(event.occurred_at.map(Moment));
        let content_type = &event.data.content_type;
        self.content_types
            .push((*content_type != ContentType::JSON).then(|| content_type.as_str()));
        self.tag_lines.push(Tags::new(&event.tags).as_stored().map(str::to_owned));
        let metadata = (!event.metadata.is_empty()).then(|| event.metadata.as_json());
        self.metadatas.push(metadata.map(|json| {
            std::str::from_utf8(json).expect("metadata is JSON, which was checked to be UTF-8")
        }));
        self.datas.push(&event.data.bytes);
    }

    fn condition(&mut self, append: i32, condition: &AppendCondition) {
        self.condition_append.push(append);
        self.condition_after.push(stored_position(condition.after));
        for item in condition.query.items() {
            self.item_condition.push(count(self.condition_append.len()));
            self.item_types.push(lines(item.types.iter().map(|name| name.as_str())));
            self.item_tags.push(lines(item.tags.iter().map(|tag| tag.as_str())));
            self.item_categories.push(lines(item.categories.iter().map(|name| name.as_str())));
            self.item_streams.push(lines(item.streams.iter().map(|stream| stream.as_str())));
        }
    }
}

/// Names hold no control characters, so lines keep them apart.
fn lines<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| names.join("\n"))
}

fn stored_expected(expected: ExpectedVersion) -> i64 {
    match expected {
        ExpectedVersion::Any => -1,
        ExpectedVersion::StreamExists => -2,
        ExpectedVersion::NoStream => 0,
        ExpectedVersion::Exact(version) => stored_version(version),
    }
}

fn answer(appends: &[&Append], row: &PgRow) -> Result<Answer, Error> {
    use sqlx_core::row::Row;
    let busy = row.try_get::<Option<Vec<i64>>, _>(0)?.unwrap_or_default();
    if !busy.is_empty() {
        return Ok(Answer::Busy(busy));
    }
    if get(row, 1)? {
        return Ok(Answer::Stored);
    }
    let written = Written {
        recorded_at: row.try_get::<Option<Moment>, _>(2)?.map_or(Timestamp::EPOCH, |m| m.0),
        base: row.try_get::<Option<i64>, _>(3)?.unwrap_or_default(),
    };
    let firsts: Vec<i32> = get(row, 4)?;
    let versions: Vec<i64> = get(row, 5)?;
    let wrong_parts: Vec<i32> = get(row, 6)?;
    let broken = row.try_get::<Option<Vec<i64>>, _>(7)?.unwrap_or_default();
    let (mut versions, mut broken) = (versions.into_iter(), broken.into_iter());
    let outcomes = appends.iter().zip(firsts).zip(wrong_parts).map(|((append, first), wrong)| {
        let before: Vec<_> = versions.by_ref().take(append.streams.len()).collect();
        let broken: Vec<_> = broken.by_ref().take(append.conditions.len()).collect();
        if first >= 0 {
            return Ok(written.receipt(append, first.into(), &before));
        }
        Err(conflict(append, wrong, &before, &broken).into())
    });
    Ok(Answer::Done(outcomes.collect()))
}

struct Written {
    recorded_at: Timestamp,
    base: i64,
}

impl Written {
    fn receipt(&self, append: &Append, first: i64, before: &[i64]) -> Receipt {
        let first = self.base + first;
        let events = append.events().count();
        let streams = append.streams.iter().zip(before).filter(|(part, _)| !part.events.is_empty());
        Receipt {
            first_position: position(first),
            last_position: position(first + i64::from(count(events)) - 1),
            recorded_at: self.recorded_at,
            streams: streams
                .map(|(part, before)| StreamReceipt {
                    stream: part.stream.clone(),
                    version: Version::new(version(*before).get() + part.events.len() as u64),
                })
                .collect(),
        }
    }
}

/// What stood against an append that was refused.
fn conflict(append: &Append, wrong_part: i32, before: &[i64], broken: &[i64]) -> Conflict {
    let broken = append.conditions.iter().zip(broken).find(|(_, found)| **found > 0);
    if let Some((condition, found)) = broken {
        return Conflict::Condition { condition: condition.clone(), found: position(*found) };
    }
    let place = usize::try_from(wrong_part - 1).unwrap_or_default();
    let part = &append.streams[place];
    let found = version(before[place]);
    Conflict::Version { stream: part.stream.clone(), expected: part.expected, found }
}
