//! The tables, and how they come to be: numbered migrations, each applied once.

use std::fmt;
use std::str::FromStr;

use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;

use crate::fault::OpenError;

/// The tables of the log.
pub(crate) const LOG: Tables = Tables {
    version_table: "schema_version",
    migrations: &[
        include_str!("schema/0001_events.sql"),
        include_str!("schema/0002_snapshots.sql"),
    ],
};

/// Tables that belong together and have one version. Others may be in the same schema.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    /// Where the number of the last migration is kept.
    pub(crate) version_table: &'static str,
    /// Every migration ever released, oldest first. An entry is never edited, only followed.
    pub(crate) migrations: &'static [&'static str],
}

/// The PostgreSQL schema a store's tables live in: several stores share a database by having one
/// each.
///
/// A name is lower-case letters, digits and `_`, begins with a letter or `_`, and has at most 48
/// characters, so it is the same with quotes and without. No name can carry SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaName(String);

/// A text that cannot name a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a schema; use at most 48 lower-case letters, digits and `_`, not beginning \
     with a digit or with pg_"
)]
pub struct InvalidSchemaName(String);

impl SchemaName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidSchemaName`], which says what a name may be.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSchemaName> {
        let name = name.into();
        let letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let valid = name.len() <= 48
            && name.starts_with(letter)
            && name.chars().all(|c| letter(c) || c.is_ascii_digit())
            && !name.starts_with("pg_");
        if valid { Ok(Self(name)) } else { Err(InvalidSchemaName(name)) }
    }

    /// A name written in the program itself.
    ///
    /// # Panics
    /// When it is not valid: a mistake in the program.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        Self::new(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A statement for this schema: `{schema}` becomes its quoted name.
    pub(crate) fn statement(&self, template: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(template.replace("{schema}", &format!("\"{}\"", self.0)))
    }
}

impl Default for SchemaName {
    /// `annals`
    fn default() -> Self {
        Self("annals".to_owned())
    }
}

impl FromStr for SchemaName {
    type Err = InvalidSchemaName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Tables {
    /// What `migrate` would run now, as SQL for an administrator; empty when there is nothing to do.
    pub(crate) async fn pending(
        self,
        connection: &mut PgConnection,
        schema: &SchemaName,
    ) -> Result<Vec<String>, OpenError> {
        let found = self.version(connection, schema).await?;
        let mut statements = Vec::new();
        if found.is_none() {
            statements.push(schema.statement("CREATE SCHEMA IF NOT EXISTS {schema};").0);
            statements.push(self.statement(
                schema,
                "CREATE TABLE {schema}.{version} (version integer NOT NULL);
INSERT INTO {schema}.{version} VALUES (0);",
            ));
        }
        for (number, migration) in (1..).zip(self.migrations).skip(self.position(found)?) {
            statements.push(schema.statement(migration).0);
            let update = format!("UPDATE {{schema}}.{{version}} SET version = {number};");
            statements.push(self.statement(schema, &update));
        }
        Ok(statements)
    }

    /// Brings the tables to the newest version. Many processes may do this at once: one works, the
    /// others wait for it and then find the work done.
    pub(crate) async fn migrate(
        self,
        connection: &mut PgConnection,
        schema: &SchemaName,
    ) -> Result<(), OpenError> {
        if self.version(connection, schema).await? == Some(self.newest()) {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        query_scalar::<_, ()>("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("annals migrate {schema}"))
            .fetch_one(&mut *transaction)
            .await?;
        for statement in self.pending(&mut transaction, schema).await? {
            transaction.execute(raw_sql(AssertSqlSafe(statement))).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Fails unless the tables are as this build needs them.
    pub(crate) async fn check(
        self,
        connection: &mut PgConnection,
        schema: &SchemaName,
    ) -> Result<(), OpenError> {
        match self.version(connection, schema).await? {
            None => Err(OpenError::NotMigrated { schema: schema.to_string() }),
            Some(found) if self.position(Some(found))? == self.migrations.len() => Ok(()),
            Some(found) => {
                Err(OpenError::TooOld { schema: schema.to_string(), found, needed: self.newest() })
            }
        }
    }

    /// How many migrations were applied, if there are tables at all.
    async fn version(
        self,
        connection: &mut PgConnection,
        schema: &SchemaName,
    ) -> Result<Option<i32>, OpenError> {
        let exists: bool = query_scalar(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
                            WHERE schemaname = $1 AND tablename = $2)",
        )
        .bind(schema.as_str())
        .bind(self.version_table)
        .fetch_one(&mut *connection)
        .await?;
        if !exists {
            return Ok(None);
        }
        let select = self.statement(schema, "SELECT version FROM {schema}.{version}");
        Ok(Some(query_scalar(AssertSqlSafe(select)).fetch_one(connection).await?))
    }

    fn statement(self, schema: &SchemaName, template: &str) -> String {
        schema.statement(&template.replace("{version}", self.version_table)).0
    }

    fn position(self, found: Option<i32>) -> Result<usize, OpenError> {
        let (found, known) = (found.unwrap_or_default(), self.newest());
        usize::try_from(found)
            .ok()
            .filter(|number| *number <= self.migrations.len())
            .ok_or(OpenError::TooNew { found, known })
    }

    fn newest(self) -> i32 {
        i32::try_from(self.migrations.len()).expect("there are few migrations")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas_carry_no_sql() {
        for name in ["annals", "_a", "tenant_42", &"a".repeat(48)] {
            assert_eq!(SchemaName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "1a", "a\"b", "a;b", "a b", "A", "pg_a", "ä", "a-b", &"a".repeat(49)] {
            let error = SchemaName::new(name).unwrap_err();
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }
}
