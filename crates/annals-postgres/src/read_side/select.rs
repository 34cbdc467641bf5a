//! Which deliveries, as SQL.

use annals_core::{DeliveryState, SelectDeliveries};

use crate::number::stored_position;
use crate::sql::Sql;

/// Behind `WHERE`, of `deliveries d`.
pub(super) fn selected(sql: &mut Sql, which: &SelectDeliveries) {
    sql.push("true");
    if let Some(id) = &which.id {
        sql.push(" AND d.id = ").bind(id.as_str());
    }
    if let Some(inbox) = &which.inbox {
        sql.push(" AND d.inbox = (SELECT s.id FROM {schema}.subscribers s WHERE s.name = ");
        sql.bind(inbox.as_str()).push(")");
    }
    if let Some(state) = which.state {
        sql.push(is_in(state));
    }
    if let Some(event_type) = &which.event_type {
        sql.push(" AND d.type = ").bind(event_type.as_str());
    }
    if let Some(stream) = &which.stream {
        sql.push(" AND d.stream = ").bind(stream.as_str());
    }
    if let Some(recipient) = &which.recipient {
        sql.push(" AND d.recipient = ").bind(recipient.as_str());
    }
    if let Some((position, id)) = &which.after {
        sql.push(" AND (d.position, d.id) > (").bind(stored_position(*position));
        sql.push(", ").bind(id.as_str()).push(")");
    }
}

/// What is not made, in the words of the indexes that have it: whoever is in no lane is a head.
/// An index of its own would be one more to keep with each delivery.
pub(super) const OPEN: &str =
    "(d.head AND d.state = 0 OR d.head AND d.state IN (1, 2) OR d.state = 3
    OR d.lane IS NOT NULL AND d.state < 4)";

fn is_in(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => " AND d.state IN (0, 1)",
        DeliveryState::Taken => " AND d.state = 2",
        DeliveryState::Dead => " AND d.state = 3",
        DeliveryState::Done => " AND d.state = 4",
        DeliveryState::Skipped => " AND d.state = 5",
        // One that this build does not know.
        _ => " AND false",
    }
}

pub(super) fn state(stored: i16) -> DeliveryState {
    match stored {
        0 | 1 => DeliveryState::Waiting,
        2 => DeliveryState::Taken,
        3 => DeliveryState::Dead,
        4 => DeliveryState::Done,
        _ => DeliveryState::Skipped,
    }
}
