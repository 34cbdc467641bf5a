//! The tables of projections: one set for each generation.

use std::borrow::Cow;
use std::fmt;

use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result};

use super::BoxError;
use crate::read_side::subscriber::{ACTIVE, BUILDING};

/// The name of a projection's table: letters a to z, digits and `_`, beginning with a letter, at
/// most 48 bytes. It holds no `__`, which sets the tables of generations apart, and begins with
/// neither `annals_` nor `sqlite_`.
///
/// ```
/// use annals_sqlite::TableName;
///
/// assert!(TableName::new("account_balances").is_ok());
/// assert!(TableName::new("balances; DROP TABLE users").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Cow<'static, str>);

impl TableName {
    /// The most bytes it may have.
    pub const BYTES_MAX: usize = 48;

    /// Checks a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(name: impl Into<String>) -> std::result::Result<Self, InvalidTableName> {
        let name = name.into();
        if is_harmless(&name) { Ok(Self(name.into())) } else { Err(InvalidTableName(name)) }
    }

    /// A name that is known when compiling.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        assert!(is_harmless(name), "{}", InvalidTableName(name.to_owned()));
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_harmless(name: &str) -> bool {
    name.len() <= TableName::BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.contains("__")
        && !name.ends_with('_')
        && !name.starts_with("annals_")
        && !name.starts_with("sqlite_")
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a projection's table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a projection's table; use letters a to z, digits and single \
     underscores between them, at most {max} bytes, and neither annals_ nor sqlite_ at the start",
    max = TableName::BYTES_MAX
)]
pub struct InvalidTableName(String);

/// A table of a projection, and how it is made.
#[derive(Clone, Debug)]
pub struct ProjectionTable {
    pub(super) name: TableName,
    create: Cow<'static, str>,
}

impl ProjectionTable {
    /// A table, and the statements that create it, with its name in braces:
    /// `CREATE TABLE {balances} (…); CREATE INDEX {balances}_by_amount ON {balances} (amount)`.
    ///
    /// Views of the application's own may be over it, but no other table may refer to it: it is
    /// dropped when another generation takes its place. A trigger would go on writing to tables
    /// of the generation it was made for.
    #[must_use]
    pub fn new(name: TableName, create: impl Into<Cow<'static, str>>) -> Self {
        Self { name, create: create.into() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TableName {
        &self.name
    }
}

/// The tables of one generation, each with the name it has there.
#[derive(Clone, Debug)]
pub(crate) struct Tables(Vec<(TableName, String)>);

impl Tables {
    pub(crate) fn of(tables: &[ProjectionTable], generation: u32, role: i64) -> Self {
        let named = |table: &ProjectionTable| {
            (table.name.clone(), name_in(table.name.as_str(), generation, role))
        };
        Self(tables.iter().map(named).collect())
    }

    pub(super) fn name_of(&self, table: &str) -> Option<&str> {
        let mut tables = self.0.iter();
        tables.find(|(name, _)| name.as_str() == table).map(|(_, name)| &**name)
    }

    /// Puts the names of tables where they stand in braces.
    pub(super) fn fill<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        let mut filled = String::new();
        let mut rest = statement;
        while let Some((before, behind)) = rest.split_once('{') {
            let found = behind.split_once('}');
            let named = found.and_then(|(table, rest)| Some((self.name_of(table)?, rest)));
            filled.push_str(before);
            match named {
                Some((name, behind)) => {
                    filled.push_str(name);
                    rest = behind;
                }
                None => {
                    filled.push('{');
                    rest = behind;
                }
            }
        }
        if filled.is_empty() && rest.len() == statement.len() {
            return statement.into();
        }
        filled.push_str(rest);
        filled.into()
    }
}

/// The name that a table has in a generation: the plain one is that of the table that is read.
fn name_in(table: &str, generation: u32, role: i64) -> String {
    if role == ACTIVE { table.to_owned() } else { format!("{table}__{generation}") }
}

/// Makes the tables of a generation that are not there yet.
pub(crate) fn prepare(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
    role: i64,
    tables: &[ProjectionTable],
) -> Result<std::result::Result<(), BoxError>> {
    let names = Tables::of(tables, generation, role);
    let mut known = connection.prepare_cached(
        "SELECT 1 FROM annals_tables WHERE subscriber = ?1 AND generation = ?2 AND name = ?3",
    )?;
    let mut note = connection.prepare_cached(
        "INSERT INTO annals_tables (subscriber, generation, name, made) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (index, (table, (name, its_name))) in tables.iter().zip(&names.0).enumerate() {
        if known.exists((subscriber, generation, name.as_str()))? {
            continue;
        }
        if exists(connection, its_name)? {
            return Ok(Err(format!(
                "there is a {its_name} already that is not this projection's; rename one of them"
            )
            .into()));
        }
        if let Err(error) = connection.execute_batch(&names.fill(&table.create)) {
            return Ok(Err(error.into()));
        }
        if !exists(connection, its_name)? {
            let message = format!("its statement does not create {{{name}}}; write it in braces");
            return Ok(Err(message.into()));
        }
        let made = i64::try_from(index).unwrap_or(i64::MAX);
        note.execute((subscriber, generation, name.as_str(), made))?;
    }
    Ok(Ok(()))
}

fn exists(connection: &Connection, name: &str) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([name])
}

/// Drops the tables of a generation, if it has any; how these were called.
pub(crate) fn drop_tables(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
    role: i64,
) -> Result<Vec<String>> {
    let tables = noted(connection, subscriber, generation)?;
    // Those that refer to others go before these.
    let called = tables.iter().rev().map(|name| name_in(name.as_str(), generation, role));
    let called: Vec<String> = called.collect();
    for name in &called {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {name}"))?;
    }
    connection
        .prepare_cached("DELETE FROM annals_tables WHERE subscriber = ?1 AND generation = ?2")?
        .execute((subscriber, generation))?;
    Ok(called)
}

/// Gives the tables of a generation that was being built the plain names, which are free now.
pub(crate) fn activate(connection: &Connection, subscriber: i64, generation: u32) -> Result<()> {
    let names = noted(connection, subscriber, generation)?;
    if names.is_empty() {
        return Ok(());
    }
    // Otherwise SQLite refuses because of views over the plain name, which has no table now.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, true)?;
    let renamed = names.iter().try_for_each(|name| {
        let building = name_in(name.as_str(), generation, BUILDING);
        connection.execute_batch(&format!("ALTER TABLE {building} RENAME TO {name}"))
    });
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false)?;
    renamed
}

/// The names of the tables that a generation has, in the order in which they were made.
fn noted(connection: &Connection, subscriber: i64, generation: u32) -> Result<Vec<TableName>> {
    let mut select = connection.prepare_cached(
        "SELECT name FROM annals_tables WHERE subscriber = ?1 AND generation = ?2 ORDER BY made",
    )?;
    let names = select.query_map((subscriber, generation), |row| {
        let name = TableName::new(row.get::<_, String>(0)?);
        name.map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))
    })?;
    names.collect()
}

/// What a generation is for, if there still is one.
pub(super) fn role_in(
    connection: &Connection,
    name: &str,
    generation: u32,
) -> Result<Option<(i64, i64)>> {
    connection
        .prepare_cached(
            "SELECT s.id, g.role FROM annals_subscribers s
             JOIN annals_generations g ON g.subscriber = s.id AND g.generation = ?2
             WHERE s.name = ?1",
        )?
        .query_row((name, generation), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_are_names() {
        for name in ["balances", "a", "a1_b2"] {
            assert!(TableName::new(name).is_ok(), "{name}");
        }
        let long = "a".repeat(TableName::BYTES_MAX + 1);
        for name in [
            "",
            "A",
            "1a",
            "_a",
            "a_",
            "a b",
            "a-b",
            "a__2",
            "a\"",
            "a;b",
            "annals_events",
            "sqlite_schema",
            "\u{e4}",
            "a\0",
            &long,
        ] {
            assert!(TableName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_known_names_in_braces_are_filled_in() {
        let table = |name| ProjectionTable::new(TableName::from_static(name), "");
        let tables = Tables::of(&[table("a"), table("bc")], 2, BUILDING);
        for (statement, filled) in [
            ("SELECT 1", "SELECT 1"),
            ("{a}{bc} x {a}_by_y", "a__2bc__2 x a__2_by_y"),
            (r#"'{}' {"a":1} {unknown} { {a"#, r#"'{}' {"a":1} {unknown} { {a"#),
            ("{{a}}", "{a__2}"),
        ] {
            assert_eq!(tables.fill(statement), filled);
        }
    }
}
