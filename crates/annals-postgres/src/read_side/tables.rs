//! The tables of projections: one generation's beside another's, until it takes their names.

use std::fmt;

use annals_core::Generation;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnection, Postgres};

use super::advance::stored;
use crate::schema::SchemaName;

/// A table of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionTable {
    pub(crate) name: TableName,
    pub(crate) create: &'static str,
}

impl ProjectionTable {
    /// The table with this name, and the statements that make it, in which its name stands in
    /// braces: `CREATE TABLE {balances} (…); CREATE INDEX ON {balances} (…)`. What else belongs to
    /// it, grants for example, stands there, too: a rebuild makes a new table.
    ///
    /// # Panics
    /// When it is no valid [`TableName`]: a mistake in the program.
    #[must_use]
    pub fn new(name: &'static str, create: &'static str) -> Self {
        let name = TableName::new(name).unwrap_or_else(|error| panic!("{error}"));
        Self { name, create }
    }
}

/// The name of a projection's table, `balances`, or with its schema, `reports.balances`.
///
/// Both are lower-case letters, digits and `_`, begin with a letter or `_` and have at most 48
/// characters; the table's has no two `_` in a row, which stand before the number of a generation
/// that is being built. No name can carry SQL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(String);

/// A text that cannot name a projection's table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a projection's table; use at most 48 lower-case letters, digits and single \
     `_`, not beginning with a digit or with pg_, and before it a schema and a dot if you like"
)]
pub struct InvalidTableName(String);

impl TableName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidTableName`], which says what a name may be.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidTableName> {
        let name = name.into();
        let (schema, table) = name.split_once('.').unwrap_or(("any", &name));
        let valid = SchemaName::new(schema).is_ok()
            && SchemaName::new(table).is_ok()
            && !table.contains("__");
        if valid { Ok(Self(name)) } else { Err(InvalidTableName(name)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the table is called while a generation is being built.
    fn building(&self, generation: Generation) -> String {
        format!("{}__{generation}", self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a table is called in a generation.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    name: String,
    called: String,
}

impl Called {
    pub(crate) fn new(name: String, called: String) -> Self {
        Self { name, called }
    }

    /// The text with the tables' quoted names in their places.
    pub(crate) fn put_into(template: &str, called: &[Self]) -> String {
        called.iter().fold(template.to_owned(), |text, table| {
            text.replace(&format!("{{{}}}", table.name), &quoted(&table.called))
        })
    }

    /// The tables of a generation, as they are called now.
    pub(crate) async fn find(
        connection: &mut PgConnection,
        schema: &SchemaName,
        subscriber: &str,
        generation: Generation,
    ) -> Result<Vec<Self>, Error> {
        let select = "SELECT t.name, t.called FROM {schema}.projection_tables t
            JOIN {schema}.subscribers s ON s.id = t.subscriber
            WHERE s.name = $1 AND t.generation = $2 ORDER BY t.name";
        let rows = query_as::<Postgres, (String, String)>(schema.statement(select))
            .bind(subscriber)
            .bind(stored(generation.get()))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(|(name, called)| Self { name, called }).collect())
    }
}

/// The names were checked, so that they need no more than quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('.', "\".\""))
}

/// Somebody else's table has the name.
#[derive(Debug, thiserror::Error)]
#[error(
    "the table {0} is there already, and was not made by this generation of the projection; drop \
     it, or give the projection another name for its table"
)]
pub(crate) struct Taken(String);

/// Makes those of a generation's tables that are not there. Who calls it has the subscriber locked.
pub(crate) async fn make(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
    generation: Generation,
    is_active: bool,
    tables: &[ProjectionTable],
) -> Result<Result<(), Taken>, Error> {
    let select = "SELECT t.name, t.called FROM {schema}.projection_tables t
        WHERE t.subscriber = $1 AND t.generation = $2";
    let made = query_as::<Postgres, (String, String)>(schema.statement(select))
        .bind(number)
        .bind(stored(generation.get()))
        .fetch_all(&mut *transaction)
        .await?;
    let mut all: Vec<Called> =
        made.into_iter().map(|(name, called)| Called { name, called }).collect();
    let missing: Vec<_> = tables
        .iter()
        .filter(|table| all.iter().all(|made| made.name != table.name.as_str()))
        .collect();
    for table in &missing {
        let name = table.name.as_str().to_owned();
        let called = if is_active { name.clone() } else { table.name.building(generation) };
        let taken: bool = query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(quoted(&called))
            .fetch_one(&mut *transaction)
            .await?;
        if taken {
            return Ok(Err(Taken(called)));
        }
        let insert = "INSERT INTO {schema}.projection_tables (subscriber, generation, name, called)
            VALUES ($1, $2, $3, $4)";
        query(schema.statement(insert))
            .bind(number)
            .bind(stored(generation.get()))
            .bind(&name)
            .bind(&called)
            .execute(&mut *transaction)
            .await?;
        all.push(Called { name, called });
    }
    // One may refer to another.
    for table in missing {
        let create = Called::put_into(table.create, &all);
        transaction.execute(raw_sql(AssertSqlSafe(create))).await?;
    }
    Ok(Ok(()))
}

/// Drops the tables of generations that are gone, and gives those of the active one their names.
/// Who calls it has the subscriber locked. How those were called that are gone.
pub(crate) async fn settle(
    transaction: &mut PgConnection,
    schema: &SchemaName,
    number: i32,
) -> Result<Vec<String>, Error> {
    let delete = "DELETE FROM {schema}.projection_tables t WHERE t.subscriber = $1
        AND NOT EXISTS (SELECT FROM {schema}.generations g
                        WHERE g.subscriber = t.subscriber AND g.generation = t.generation)
        RETURNING t.called";
    let gone: Vec<String> =
        query_scalar(schema.statement(delete)).bind(number).fetch_all(&mut *transaction).await?;
    if !gone.is_empty() {
        // At once: one may refer to another.
        let tables: Vec<_> = gone.iter().map(|called| quoted(called)).collect();
        let drop = format!("DROP TABLE IF EXISTS {}", tables.join(", "));
        transaction.execute(raw_sql(AssertSqlSafe(drop))).await?;
    }
    let update = "UPDATE {schema}.projection_tables t SET called = t.name
        FROM {schema}.projection_tables o, {schema}.generations g
        WHERE t.subscriber = $1 AND g.subscriber = $1 AND g.role = 0
          AND t.generation = g.generation AND t.called <> t.name
          AND (o.subscriber, o.generation, o.name) = (t.subscriber, t.generation, t.name)
        RETURNING o.called, t.name";
    let renamed = query_as::<Postgres, (String, String)>(schema.statement(update))
        .bind(number)
        .fetch_all(&mut *transaction)
        .await?;
    for (called, name) in renamed {
        let plain = name.rsplit('.').next().unwrap_or(&name);
        let rename = format!("ALTER TABLE {} RENAME TO {}", quoted(&called), quoted(plain));
        transaction.execute(raw_sql(AssertSqlSafe(rename))).await?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_carry_no_sql() {
        for name in ["balances", "reports.balances", "_a1", "a_b"] {
            assert_eq!(TableName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a.b.c", ".a", "a.", "a\"b", "a;b", "A", "a__2", "pg_a", "x.pg_a", "a b"] {
            let error = TableName::new(name).unwrap_err();
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }

    #[test]
    fn only_the_projections_own_tables_are_put_into_statements() {
        let called = [Called { name: "s.a".into(), called: "s.a__2".into() }];
        let text = Called::put_into("INSERT INTO {s.a} VALUES ('{}', '{b}')", &called);
        assert_eq!(text, r#"INSERT INTO "s"."a__2" VALUES ('{}', '{b}')"#);
    }
}
