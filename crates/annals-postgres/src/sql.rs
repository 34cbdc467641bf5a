//! Statements that depend on what is asked for: text with placeholders, and what stands in them.

use sqlx_core::arguments::Arguments;
use sqlx_core::encode::Encode;
use sqlx_core::error::BoxDynError;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_core::types::Type;
use sqlx_postgres::{PgArguments, Postgres};

use crate::schema::SchemaName;

/// A statement in the making. Its text is made of constants and placeholders only; every value
/// is bound.
pub(crate) struct Sql {
    text: String,
    arguments: PgArguments,
    failure: Option<BoxDynError>,
}

impl Sql {
    pub(crate) fn new() -> Self {
        Self { text: String::with_capacity(512), arguments: PgArguments::default(), failure: None }
    }

    /// One whose text has its placeholders; the values follow with [`value`](Self::value).
    pub(crate) fn of(text: &'static str) -> Self {
        let mut sql = Self::new();
        sql.push(text);
        sql
    }

    /// The value for the next placeholder of the text.
    pub(crate) fn value<'v, T>(mut self, value: T) -> Self
    where
        T: Encode<'v, Postgres> + Type<Postgres>,
    {
        self.add(value);
        self
    }

    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A placeholder for the value.
    pub(crate) fn bind<'v, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'v, Postgres> + Type<Postgres>,
    {
        self.add(value);
        self.text.push('$');
        self.text.push_str(&self.arguments.len().to_string());
        self
    }

    fn add<'v, T>(&mut self, value: T)
    where
        T: Encode<'v, Postgres> + Type<Postgres>,
    {
        if let Err(error) = self.arguments.add(value) {
            self.failure = Some(error);
        }
    }

    /// The statement for a schema, and its values.
    pub(crate) fn finish(
        self,
        schema: &SchemaName,
    ) -> Result<(AssertSqlSafe<String>, PgArguments), sqlx_core::error::Error> {
        match self.failure {
            None => Ok((schema.statement(&self.text), self.arguments)),
            Some(error) => Err(sqlx_core::error::Error::Encode(error)),
        }
    }
}
