//! What the log holds already, a projection applies before it runs with appends.

use annals_core::{
    Enrol, Limits, OnNewVersion, Position, ProjectError, ReadSideError, Role, Timestamp,
};
use rusqlite::{Connection, Result};

use super::standing::Standing;
use super::{Hook, Hooks, Kind, Veto};
use crate::fault::read_side_error;
use crate::number::stored_position;
use crate::projection::prepare;
use crate::read_side::subscriber::{ACTIVE, BUILDING, find};
use crate::read_side::{enrol, put_in_place, sweep};
use crate::row::{Decoder, TypeNames, columns};
use crate::stream::newest_position;
use crate::writer::Transaction;

/// The most events of the log that are looked at in one transaction: others wait for it.
pub(super) const EVENTS_MAX: i64 = 1_000;
/// How many rows of a generation that is gone are dropped in one transaction.
const SWEEP_ROWS: usize = 10_000;

/// Brings all projections to the log's end, in transactions that are each short. In the last one
/// of each nobody else can append.
pub(crate) fn catch_up(
    connection: &Connection,
    hooks: &Hooks,
    now: Timestamp,
) -> std::result::Result<(), Veto> {
    for hook in hooks.hooks.iter() {
        catch_up_one(connection, hook, &hooks.limits, now)
            .map_err(|error| Veto { by: hook.name.clone(), source: error.into() })?;
    }
    Ok(())
}

fn catch_up_one(
    connection: &Connection,
    hook: &Hook,
    limits: &Limits,
    now: Timestamp,
) -> std::result::Result<(), ProjectError> {
    let Some(version) = hook.version() else { return Ok(()) };
    let sql = |error| ProjectError::from(read_side_error("catching up with the log", error));
    loop {
        let transaction = Transaction::begin(connection).map_err(sql)?;
        let caught_up = one_stretch(connection, hook, version, limits, now).map_err(sql)??;
        transaction.commit().map_err(sql)?;
        if caught_up {
            break;
        }
    }
    match hook.kind {
        Kind::Rows(_) => sweep_all(connection, hook).map_err(sql),
        Kind::Projection(_) | Kind::Reactor(_) => Ok(()),
    }
}

/// Drops the rows of generations that are gone: nobody else does, as a runner would.
fn sweep_all(connection: &Connection, hook: &Hook) -> Result<()> {
    let Some(id) = find(connection, &hook.name)? else { return Ok(()) };
    loop {
        let transaction = Transaction::begin(connection)?;
        let swept = sweep(connection, id, &[], SWEEP_ROWS)?;
        transaction.commit()?;
        if swept == 0 {
            return Ok(());
        }
    }
}

/// Applies some of the events that are missing; whether none is now.
fn one_stretch(
    connection: &Connection,
    hook: &Hook,
    version: u32,
    limits: &Limits,
    now: Timestamp,
) -> Result<std::result::Result<bool, ProjectError>> {
    let asked = Enrol {
        subscriber: hook.name.clone(),
        version,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Rebuild,
        now,
    };
    let info = match enrol(connection, &asked)? {
        Ok(info) => info,
        Err(refused) => return Ok(Err(refused.into())),
    };
    if info.state == annals_core::SubscriberState::Paused {
        return Ok(Ok(true));
    }
    let made = info.generations.iter().find(|generation| generation.version == version);
    let Some(made) = made else {
        return Ok(Err(ReadSideError::Unknown(hook.name.clone()).into()));
    };
    let role = if made.role == Role::Active { ACTIVE } else { BUILDING };
    let id = find(connection, &hook.name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    if let Kind::Projection(projection) = &hook.kind {
        let tables = projection.tables();
        if let Err(error) = prepare(connection, id, made.generation.get(), role, &tables)? {
            let fault = annals_core::Fault::because("making its tables", error);
            return Ok(Err(ReadSideError::Unavailable(fault).into()));
        }
    }
    let mut standing = Standing::of(connection, hook, id, made.generation.get(), role)?;
    let newest = newest_position(connection)?;
    let up_to = newest.min(standing.position().saturating_add(EVENTS_MAX));
    if let Err(error) = apply_log(connection, hook, &mut standing, up_to, limits)? {
        return Ok(Err(error));
    }
    standing.save(connection, now)?;
    let caught_up = up_to >= newest;
    if caught_up && role == BUILDING {
        // It is at the end of the log, and nobody else appends: it cannot be behind.
        let active = info.active().map(|active| active.generation);
        put_in_place(connection, id, active, made.generation)?;
    }
    Ok(Ok(caught_up))
}

/// Applies what the log holds between where a projection stands and a position.
pub(super) fn apply_log(
    connection: &Connection,
    hook: &Hook,
    standing: &mut Standing,
    up_to: i64,
    limits: &Limits,
) -> Result<std::result::Result<(), ProjectError>> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM annals_events WHERE position > ?1 AND position <= ?2 ORDER BY position"
    ))?;
    let mut rows = select.query((standing.position(), up_to))?;
    let mut names = TypeNames::default();
    let mut decoder = Decoder::new(connection, &mut names);
    while let Some(row) = rows.next()? {
        let event = decoder.decode(row)?;
        if let Err(error) = standing.apply(connection, hook, &event, limits) {
            return Ok(Err(error));
        }
        standing.pass(stored_position(event.position));
    }
    standing.pass(up_to);
    Ok(Ok(()))
}
