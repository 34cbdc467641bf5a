//! The tables, and how they come to be: numbered migrations, each applied once.
//!
//! All names start with `annals_`, so that the tables can live in an application's own file.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::fault::OpenError;

/// Tables that change together: every migration ever released, oldest first. An entry is never
/// edited, only followed.
pub(crate) struct Migrations {
    /// The table that holds how many of them a file has seen.
    version_in: &'static str,
    steps: &'static [&'static str],
}

/// The tables of the log.
pub(crate) const EVENTS: Migrations = Migrations {
    version_in: "annals_schema",
    steps: &[include_str!("schema/0001_events.sql"), include_str!("schema/0002_snapshots.sql")],
};

impl Migrations {
    pub(crate) const fn new(version_in: &'static str, steps: &'static [&'static str]) -> Self {
        Self { version_in, steps }
    }

    /// Brings the tables to the newest version. Many processes may do this at once.
    pub(crate) fn migrate(&self, connection: &mut Connection) -> Result<(), OpenError> {
        if self.version(connection)? == self.steps.len() {
            return Ok(());
        }
        // The write lock makes other starting processes wait, and then find the work done.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = self.version(&transaction)?;
        let Some(missing) = self.steps.get(found..) else {
            return Err(OpenError::TooNew { found, known: self.steps.len() });
        };
        for migration in missing {
            transaction.execute_batch(migration)?;
        }
        // The table's name is a constant of this crate.
        let table = self.version_in;
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL) STRICT;
             DELETE FROM {table};"
        ))?;
        transaction.execute(
            &format!("INSERT INTO {table} (version) VALUES (?1)"),
            [i64::try_from(self.steps.len()).unwrap_or(i64::MAX)],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn version(&self, connection: &Connection) -> Result<usize, OpenError> {
        let table = self.version_in;
        let exists: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)",
            [table],
            |row| row.get(0),
        )?;
        if !exists {
            return Ok(0);
        }
        let version: Option<i64> = connection
            .query_row(&format!("SELECT version FROM {table}"), [], |row| row.get(0))
            .optional()?;
        version
            .and_then(|version| usize::try_from(version).ok())
            .ok_or_else(|| OpenError::Damaged(format!("{table} holds no version")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        EVENTS.migrate(&mut connection).unwrap();
        let schema = |c: &Connection| -> Vec<String> {
            let mut statement = c.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let before = schema(&connection);
        EVENTS.migrate(&mut connection).unwrap();
        assert_eq!(schema(&connection), before);
        assert_eq!(EVENTS.version(&connection).unwrap(), EVENTS.steps.len());
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        EVENTS.migrate(&mut connection).unwrap();
        connection.execute("UPDATE annals_schema SET version = 99", []).unwrap();
        let error = EVENTS.migrate(&mut connection).unwrap_err();
        assert!(matches!(error, OpenError::TooNew { found: 99, .. }), "{error}");
    }

    #[test]
    fn events_cannot_be_changed_or_deleted() {
        let mut connection = Connection::open_in_memory().unwrap();
        EVENTS.migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO annals_types VALUES (1, 'T');
                 INSERT INTO annals_events
                     (position, stream, version, type, schema_version, append_index, recorded_at, id, data)
                 VALUES (1, 'a-1', 1, 1, 1, 0, 0, x'00', x'7b7d');",
            )
            .unwrap();
        for tampering in ["UPDATE annals_events SET data = x''", "DELETE FROM annals_events"] {
            let error = connection.execute(tampering, []).unwrap_err();
            assert!(error.to_string().contains("immutable"), "{tampering}: {error}");
        }
    }
}
