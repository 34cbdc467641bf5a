//! How far a projection has come that runs inline, and how it goes on.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use annals_core::{
    Limits, Partition, PoisonEvent, ProjectError, RecordedEvent, RowChange, RowFold, RowKey,
    Timestamp,
};
use rusqlite::{Connection, Result};

use super::{Hook, Kind};
use crate::number::stored_position;
use crate::projection::{self, BoxError, SqliteProjection, Tables, guarded, poison};
use crate::read_side::subscriber::{ACTIVE, PAUSED};
use crate::read_side::{stored_count, value_of, write_rows};

/// Who works a projection that runs inline.
pub(crate) const OWNER: &str = "the append";
/// For how long it is not given to anybody else after an append.
const LEASE: Duration = Duration::from_secs(60);

/// Where a projection stands within a transaction.
pub(super) struct Standing {
    subscriber: i64,
    generation: u32,
    parts: Vec<Part>,
    tables: Tables,
}

struct Part {
    partition: Partition,
    position: i64,
    /// Applied since the checkpoint was last saved.
    events: u64,
}

impl Standing {
    /// Where the active generation of a projection stands; `None` if it is not to run, being
    /// paused, or made by another version of its code. Reactors stand nowhere.
    pub(super) fn of_active(connection: &Connection, hook: &Hook) -> Result<Option<Self>> {
        let Some(version) = hook.version() else { return Ok(None) };
        let mut select = connection.prepare_cached(
            "SELECT s.id, g.generation FROM annals_subscribers s
             JOIN annals_generations g ON g.subscriber = s.id AND g.role = ?2 AND g.version = ?3
             WHERE s.name = ?1 AND s.state <> ?4",
        )?;
        let mut rows = select.query((hook.name.as_str(), ACTIVE, version, PAUSED))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Self::of(connection, hook, row.get(0)?, row.get(1)?, ACTIVE).map(Some)
    }

    pub(super) fn of(
        connection: &Connection,
        hook: &Hook,
        subscriber: i64,
        generation: u32,
        role: i64,
    ) -> Result<Self> {
        let mut select = connection.prepare_cached(
            "SELECT part, position FROM annals_partitions
             WHERE subscriber = ?1 AND generation = ?2 ORDER BY part",
        )?;
        let parts = select.query_map((subscriber, generation), |row| {
            let partition = Partition { index: row.get(0)?, count: 1 };
            Ok(Part { partition, position: row.get(1)?, events: 0 })
        })?;
        let mut parts: Vec<Part> = parts.collect::<Result<_>>()?;
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        parts.iter_mut().for_each(|part| part.partition.count = count);
        let tables = match &hook.kind {
            Kind::Projection(projection) => Tables::of(&projection.tables(), generation, role),
            Kind::Reactor(_) | Kind::Rows(_) => Tables::of(&[], generation, role),
        };
        Ok(Self { subscriber, generation, parts, tables })
    }

    /// The position up to which all parts have come.
    pub(super) fn position(&self) -> i64 {
        self.parts.iter().map(|part| part.position).min().unwrap_or(i64::MAX)
    }

    /// Applies an event that stands behind what was applied so far, if it concerns the
    /// projection.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        hook: &Hook,
        event: &RecordedEvent,
        limits: &Limits,
    ) -> std::result::Result<(), ProjectError> {
        if !hook.query.matches(event) {
            return Ok(());
        }
        let position = stored_position(event.position);
        match &hook.kind {
            Kind::Projection(sql) => self.apply_in_sql(connection, &**sql, event, position),
            Kind::Rows(fold) => self.apply_to_rows(connection, &**fold, event, position, limits),
            Kind::Reactor(_) => Ok(()),
        }
    }

    fn apply_in_sql(
        &mut self,
        connection: &Connection,
        projection: &dyn SqliteProjection,
        event: &RecordedEvent,
        position: i64,
    ) -> std::result::Result<(), ProjectError> {
        let stream = event.stream.as_str();
        let part = self.parts.iter_mut().find(|part| part.partition.owns(stream));
        let Some(part) = part.filter(|part| part.position < position) else { return Ok(()) };
        projection::apply(connection, projection, &self.tables, event)
            .map_err(|error| poison(event, error))?;
        part.events += 1;
        Ok(())
    }

    fn apply_to_rows(
        &mut self,
        connection: &Connection,
        fold: &dyn RowFold,
        event: &RecordedEvent,
        position: i64,
        limits: &Limits,
    ) -> std::result::Result<(), ProjectError> {
        let behind = |part: &&mut Part| part.position < position;
        let mut behind: Vec<&mut Part> = self.parts.iter_mut().filter(behind).collect();
        let owners: Vec<Partition> = behind.iter().map(|part| part.partition).collect();
        let owns = |key: &RowKey| owners.iter().any(|part| part.owns(key.as_str()));
        let rows = (self.subscriber, self.generation);
        guarded(connection, || fold_rows(connection, rows, fold, event, &owns, limits)).map_err(
            |error| match error.downcast::<PoisonEvent>() {
                Ok(poison) => (*poison).into(),
                Err(error) => poison(event, error),
            },
        )?;
        behind.iter_mut().for_each(|part| part.events += 1);
        Ok(())
    }

    /// Everything up to a position has been applied.
    pub(super) fn pass(&mut self, position: i64) {
        for part in &mut self.parts {
            part.position = part.position.max(position);
        }
    }

    /// Moves the stored checkpoints to where the projection stands, and takes the right to move
    /// them from everybody else.
    pub(super) fn save(&mut self, connection: &Connection, now: Timestamp) -> Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE annals_partitions
             SET position = ?4, events = events + ?5, moved_at = ?6,
                 fence = fence + (owner IS NOT ?7), owner = ?7, owned_until = ?8,
                 failed_at = NULL, failed_position = NULL, failed_event = NULL, error = NULL
             WHERE subscriber = ?1 AND generation = ?2 AND part = ?3",
        )?;
        for part in &mut self.parts {
            update.execute((
                self.subscriber,
                self.generation,
                part.partition.index,
                part.position,
                stored_count(std::mem::take(&mut part.events)),
                now.as_micros(),
                OWNER,
                now.saturating_add(LEASE).as_micros(),
            ))?;
        }
        Ok(())
    }
}

impl Hook {
    /// The version of a projection's code.
    pub(super) fn version(&self) -> Option<u32> {
        match &self.kind {
            Kind::Projection(projection) => Some(projection.version()),
            Kind::Rows(fold) => Some(fold.version()),
            Kind::Reactor(_) => None,
        }
    }
}

/// Lets a projection fold an event into its rows, and writes what has changed.
fn fold_rows(
    connection: &Connection,
    (subscriber, generation): (i64, u32),
    fold: &dyn RowFold,
    event: &RecordedEvent,
    owns: &dyn Fn(&RowKey) -> bool,
    limits: &Limits,
) -> std::result::Result<(), BoxError> {
    let keys: BTreeSet<RowKey> = fold.keys(event)?.into_iter().collect();
    let mut rows = HashMap::new();
    for key in &keys {
        if let Some(value) = value_of(connection, subscriber, generation, key)? {
            rows.insert(key.clone(), value);
        }
    }
    let before = rows.clone();
    fold.fold(event, &mut rows, owns)?;
    let mut changes = Vec::new();
    for key in keys.into_iter().filter(|key| owns(key)) {
        if rows.get(&key) != before.get(&key) {
            let value = rows.remove(&key);
            changes.push(RowChange { key, value });
        }
    }
    changes.iter().try_for_each(|change| limits.check_row(change))?;
    Ok(write_rows(connection, subscriber, generation, &changes)?)
}
