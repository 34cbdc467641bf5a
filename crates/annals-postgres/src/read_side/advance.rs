//! Checkpoints that move, as columns.

use annals_core::Advance;

use super::ask::text;
use crate::moment::Moment;
use crate::number::{count, stored_position};
use crate::sql::Sql;

/// What the functions of the schema take for moving checkpoints: `$1` to `$12`.
#[derive(Default)]
pub(super) struct Advances<'a> {
    subscribers: Vec<&'a str>,
    generations: Vec<i32>,
    parts: Vec<i32>,
    fences: Vec<i64>,
    tos: Vec<i64>,
    counts: Vec<i64>,
    parked_advance: Vec<i32>,
    parked_position: Vec<i64>,
    parked_event: Vec<uuid::Uuid>,
    parked_error: Vec<String>,
    parked_at: Vec<Moment>,
}

impl<'a> Advances<'a> {
    pub(super) fn of(advances: &'a [Advance]) -> Self {
        let mut columns = Self::default();
        for advance in advances {
            let lease = &advance.lease;
            columns.subscribers.push(lease.subscriber.as_str());
            columns.generations.push(stored(lease.generation.get()));
            columns.parts.push(stored(lease.partition.index));
            columns.fences.push(lease.fence.cast_signed());
            columns.tos.push(stored_position(advance.to));
            columns.counts.push(advance.events.cast_signed());
            for parked in &advance.parked {
                columns.parked_advance.push(count(columns.subscribers.len()));
                columns.parked_position.push(stored_position(parked.position));
                columns.parked_event.push(uuid::Uuid::from(parked.event));
                columns.parked_error.push(text(&parked.error));
                columns.parked_at.push(Moment(parked.at));
            }
        }
        columns
    }

    pub(super) fn bind(&self, sql: Sql, now: annals_core::Timestamp) -> Sql {
        sql.value(Moment(now))
            .value(&self.subscribers)
            .value(&self.generations)
            .value(&self.parts)
            .value(&self.fences)
            .value(&self.tos)
            .value(&self.counts)
            .value(&self.parked_advance)
            .value(&self.parked_position)
            .value(&self.parked_event)
            .value(&self.parked_error)
            .value(&self.parked_at)
    }
}

/// A number as PostgreSQL's `integer`; one that is too large names nothing that there is.
pub(super) fn stored(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
