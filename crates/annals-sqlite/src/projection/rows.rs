//! What a projection in SQL sees: its tables, in the transaction that also moves its checkpoint.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row};

use super::table::{TableName, Tables};

/// The tables of a projection, in the generation that is being worked. Statements are prepared
/// once, and `{balances}` in them is the table `balances`.
#[derive(Debug)]
pub struct SqliteRows<'t> {
    connection: &'t Connection,
    tables: &'t Tables,
}

impl<'t> SqliteRows<'t> {
    pub(crate) fn new(connection: &'t Connection, tables: &'t Tables) -> Self {
        Self { connection, tables }
    }

    /// Executes a statement; how many rows it changed.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn execute(&self, statement: &str, params: impl Params) -> Result<usize> {
        self.connection.prepare_cached(&self.tables.fill(statement))?.execute(params)
    }

    /// The first row that a query finds, if there is one.
    ///
    /// # Errors
    /// Those of SQLite, and of `read`.
    pub fn query_row<T>(
        &self,
        query: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut query = self.connection.prepare_cached(&self.tables.fill(query))?;
        query.query_row(params, read).optional()
    }

    /// All rows that a query finds.
    ///
    /// # Errors
    /// Those of SQLite, and of `read`.
    pub fn query_rows<T>(
        &self,
        query: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut query = self.connection.prepare_cached(&self.tables.fill(query))?;
        let rows = query.query_map(params, read)?;
        rows.collect()
    }

    /// The name that a table of the projection has now, for a statement that is made with
    /// [`transaction`](Self::transaction); `None` for one that is not its own.
    #[must_use]
    pub fn name_of(&self, table: &TableName) -> Option<&str> {
        self.tables.name_of(table.as_str())
    }

    /// The connection, inside the transaction. It must not be ended; savepoints that are begun
    /// must be.
    #[must_use]
    pub fn transaction(&self) -> &'t Connection {
        self.connection
    }
}
