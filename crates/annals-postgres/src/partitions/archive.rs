//! Partitions that are done with: frozen, and moved to another tablespace.

use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_postgres::PgConnection;

use super::convert::alone;
use super::{PartitionError, PartitionName, is_partitioned, partitions};
use crate::PostgresStore;

impl PostgresStore {
    /// Freezes a partition that the log has left behind, so that the server never has to look at
    /// it again, and moves it with its indexes to a tablespace when one is given.
    ///
    /// It stays a part of the log and is read like every other. It is copied while the log is in
    /// use; only putting the copy in its place has the log to itself, for a moment.
    ///
    /// The user must own the log, and be allowed to create in the tablespace.
    ///
    /// # Errors
    /// [`PartitionError::Open`] for one that events can still be added to. The partition is then
    /// as it was.
    pub async fn archive_partition(
        &self,
        name: PartitionName,
        tablespace: Option<&str>,
    ) -> Result<(), PartitionError> {
        let schema = self.schema();
        let mut connection = self.pool().acquire().await?.detach();
        if !is_partitioned(&mut connection, schema).await? {
            return Err(PartitionError::NotPartitioned);
        }
        let found = partitions(&mut connection, schema).await?;
        let found = found.into_iter().find(|partition| partition.name == name);
        let found = found.ok_or(PartitionError::NotFound { name })?;
        if !found.is_closed {
            return Err(PartitionError::Open { name, up_to: found.up_to });
        }
        match tablespace {
            Some(tablespace) if tablespace != found.tablespace => {
                self.move_partition(&mut connection, name, tablespace).await?;
            }
            _ => self.freeze(&mut connection, name, "{partition}").await?,
        }
        connection.close().await?;
        Ok(())
    }

    async fn move_partition(
        &self,
        connection: &mut PgConnection,
        name: PartitionName,
        tablespace: &str,
    ) -> Result<(), PartitionError> {
        let schema = self.schema();
        let mut transaction = alone(connection, schema).await?;
        query(schema.statement("SELECT {schema}.copy_partition($1, $2)"))
            .bind(name.number())
            .bind(tablespace)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.freeze(connection, name, "{partition}_moved").await?;
        let mut transaction = alone(connection, schema).await?;
        query(schema.statement("SELECT {schema}.swap_partition($1)"))
            .bind(name.number())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn freeze(
        &self,
        connection: &mut PgConnection,
        name: PartitionName,
        table: &'static str,
    ) -> Result<(), PartitionError> {
        let vacuum = format!("VACUUM (FREEZE, ANALYZE) {{schema}}.{table}");
        let vacuum = name.statement(&vacuum);
        query(self.schema().statement(&vacuum)).execute(connection).await?;
        Ok(())
    }
}
