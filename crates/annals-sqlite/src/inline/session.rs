//! Appends with what runs inside them: each so that a veto undoes it and nothing else.

use annals_core::error::Chain;
use annals_core::{
    Append, AppendError, Fault, Position, ProjectError, ReadSideError, Receipt, RecordedEvent,
    Tags, Timestamp, Version,
};
use rusqlite::{Connection, Result};

use super::catch_up::{EVENTS_MAX, apply_log};
use super::standing::Standing;
use super::{Hook, Hooks, Kind, Veto};
use crate::append::{Appender, Outcome};
use crate::projection::guarded;
use crate::store::is_any_stored;
use crate::stream::Newest;

/// What runs inside the appends of one transaction.
pub(crate) struct Session<'h> {
    hooks: &'h Hooks,
    /// Where projections stand, once an append has run them; none after a veto, for they may have
    /// caught up in what was undone.
    standings: Option<Vec<Option<Standing>>>,
    /// Who could not catch up, and so allows nothing.
    stuck: Option<&'h Veto>,
}

/// How an append ended.
pub(crate) enum Appended {
    Done(Outcome),
    /// Somebody is too far behind to catch up inside an append.
    Behind(String),
    /// What ran inside has ended the transaction, and nobody knows how.
    Ended,
}

impl<'h> Session<'h> {
    pub(crate) fn new(hooks: &'h Hooks, stuck: Option<&'h Veto>) -> Self {
        Self { hooks, standings: None, stuck }
    }

    /// Performs an append as [`Appender::append`] does, and runs inside it what is to run.
    ///
    /// An error of SQLite leaves it half done, as there; so do `Behind` and `Ended`.
    pub(crate) fn append(
        &mut self,
        appender: &mut Appender<'_>,
        append: &Append,
        checked: Position,
        now: Timestamp,
        newest: &mut Newest,
    ) -> Result<Appended> {
        let connection = appender.connection();
        let before = *newest;
        connection.prepare_cached("SAVEPOINT annals_inline")?.execute([])?;
        let outcome = appender.append(append, checked, now, newest)?;
        let ended = match outcome {
            Ok(receipt) if newest.position > before.position => {
                // Should what runs now end the transaction, the log is whole at least.
                appender.finish()?;
                self.run(connection, append, receipt, before, now)?
            }
            // Refused, or a repeat: nothing was written.
            outcome => Appended::Done(outcome),
        };
        match &ended {
            Appended::Done(Ok(_)) => {}
            Appended::Done(Err(_)) => {
                connection.prepare_cached("ROLLBACK TO annals_inline")?.execute([])?;
                *newest = before;
                appender.forget();
            }
            Appended::Behind(_) | Appended::Ended => return Ok(ended),
        }
        connection.prepare_cached("RELEASE annals_inline")?.execute([])?;
        Ok(ended)
    }

    /// Runs everything because of an append that was written.
    fn run(
        &mut self,
        connection: &Connection,
        append: &Append,
        receipt: Receipt,
        before: Newest,
        now: Timestamp,
    ) -> Result<Appended> {
        if let Some(veto) = self.stuck {
            let (by, source) = (veto.by.clone(), Chain(&*veto.source).to_string().into());
            return Ok(Appended::Done(Err(AppendError::Vetoed { by, source })));
        }
        let mut standings = match self.standings.take() {
            Some(standings) => standings,
            None => match self.begin(connection, append, before.position)? {
                Ok(standings) => standings,
                Err(appended) => return Ok(appended),
            },
        };
        let hooks = self.hooks;
        for event in recorded(append, &receipt) {
            for (hook, standing) in hooks.hooks.iter().zip(&mut standings) {
                let ran = hook.run(connection, standing.as_mut(), &event, hooks);
                if connection.is_autocommit() {
                    let error = ran.as_ref().err().map(|error| error as &dyn std::error::Error);
                    return ended(connection, append, error);
                }
                if let Err(refused) = ran {
                    return Ok(Appended::Done(Err(refused)));
                }
            }
        }
        for standing in standings.iter_mut().flatten() {
            standing.pass(crate::number::stored_position(receipt.last_position));
            standing.save(connection, now)?;
        }
        self.standings = Some(standings);
        Ok(Appended::Done(Ok(receipt)))
    }

    /// Where all projections stand once they have caught up with the log before an append: what
    /// another process has appended without them, for example.
    fn begin(
        &self,
        connection: &Connection,
        append: &Append,
        newest: i64,
    ) -> Result<std::result::Result<Vec<Option<Standing>>, Appended>> {
        let mut standings = Vec::with_capacity(self.hooks.hooks.len());
        for hook in self.hooks.hooks.iter() {
            let mut standing = Standing::of_active(connection, hook)?;
            if let Some(standing) = standing.as_mut().filter(|it| it.position() < newest) {
                let missing = newest - standing.position();
                if missing > EVENTS_MAX {
                    return Ok(Err(Appended::Behind(format!(
                        "{} has {missing} events of the log to apply first, more than {EVENTS_MAX}; \
                         append through the store, or open it again",
                        hook.name
                    ))));
                }
                let limits = &self.hooks.limits;
                let applied = apply_log(connection, hook, standing, newest, limits)?;
                if connection.is_autocommit() {
                    let error = applied.err();
                    let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                    return ended(connection, append, error).map(Err);
                }
                if let Err(error) = applied {
                    return Ok(Err(Appended::Done(Err(hook.refusal(error)))));
                }
            }
            standings.push(standing);
        }
        Ok(Ok(standings))
    }
}

impl Hook {
    /// Runs because of one event that is being appended.
    fn run(
        &self,
        connection: &Connection,
        standing: Option<&mut Standing>,
        event: &RecordedEvent,
        hooks: &Hooks,
    ) -> std::result::Result<(), AppendError> {
        match (&self.kind, standing) {
            (Kind::Reactor(reactor), _) if self.query.matches(event) => {
                guarded(connection, || reactor.react(connection, event))
                    .map_err(|source| AppendError::Vetoed { by: self.name.clone(), source })
            }
            (_, Some(standing)) => standing
                .apply(connection, self, event, &hooks.limits)
                .map_err(|error| self.refusal(error)),
            _ => Ok(()),
        }
    }

    fn refusal(&self, error: ProjectError) -> AppendError {
        match error {
            ProjectError::ReadSide(error @ ReadSideError::Unavailable(_)) => {
                let doing = format!("running {} inside the append", self.name);
                AppendError::Unavailable(Fault::because(doing, error))
            }
            error => AppendError::Vetoed { by: self.name.clone(), source: error.into() },
        }
    }
}

/// What became of an append whose transaction has ended while something ran inside.
///
/// A full or failing disk makes SQLite roll back by itself. Then nothing of it is there, which is
/// an error like others; what is there was committed by what ran, and nobody knows how.
fn ended(
    connection: &Connection,
    append: &Append,
    error: Option<&dyn std::error::Error>,
) -> Result<Appended> {
    if is_any_stored(connection, append)? {
        return Ok(Appended::Ended);
    }
    let why = error.map_or_else(
        || "what runs inline has rolled back the transaction that it ran in".to_owned(),
        |error| Chain(error).to_string(),
    );
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    Err(rusqlite::Error::SqliteFailure(code, Some(why)))
}

/// The events of an append as they will be read.
fn recorded(append: &Append, receipt: &Receipt) -> Vec<RecordedEvent> {
    let mut events = Vec::with_capacity(append.events().count());
    let mut position = receipt.first_position.get();
    for part in append.streams.iter().filter(|part| !part.events.is_empty()) {
        let last = receipt.version_of(&part.stream).map_or(0, Version::get);
        let mut version = last.saturating_sub(part.events.len() as u64);
        for event in &part.events {
            version += 1;
            events.push(RecordedEvent {
                position: Position::new(position),
                stream: part.stream.clone(),
                version: Version::new(version),
                id: event.id,
                event_type: event.event_type.clone(),
                schema_version: event.schema_version,
                data: event.data.clone(),
                metadata: event.metadata.clone(),
                tags: Tags::new(&event.tags),
                occurred_at: event.occurred_at.unwrap_or(receipt.recorded_at),
                recorded_at: receipt.recorded_at,
            });
            position += 1;
        }
    }
    events
}
