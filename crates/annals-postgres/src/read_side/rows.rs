//! Rows beside checkpoints.

use std::collections::BTreeMap;
use std::slice;

use annals_core::{
    Advance, Fault, Generation, Lease, ListRows, ReadSideError, Row, RowChange, RowKey, RowStore,
    SubscriberName,
};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx_core::error::Error;
use sqlx_core::row::Row as _;
use sqlx_postgres::PgRow;

use super::PostgresReadSide;
use super::advance::{Advances, stored};
use super::ask::read_side_error;
use super::checkpoint::fenced;
use crate::number::count;
use crate::row::get;
use crate::sql::Sql;

const ROWS_OF: &str = "SELECT r.key, r.value FROM {schema}.rows r
    WHERE r.subscriber = (SELECT s.id FROM {schema}.subscribers s WHERE s.name = $1)
      AND r.generation = $2 AND r.key = ANY ($3)";

/// The checkpoint moves first, and unless it does nothing is written. `$15` says whether nobody
/// waits for the disk.
const COMMIT: &str = "WITH moved AS MATERIALIZED (
        SELECT s.id FROM {schema}.subscribers s
        WHERE s.name = ($2::text[])[1]
          AND set_config('synchronous_commit',
                CASE WHEN $15 THEN 'off' ELSE current_setting('synchronous_commit') END, true) <> ''
          AND {schema}.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) IS NULL
    ), written AS (
        INSERT INTO {schema}.rows (subscriber, generation, key, value)
        SELECT m.id, ($3::integer[])[1], c.key, c.value::json
        FROM moved m, unnest($13::text[], $14::text[]) AS c(key, value)
        WHERE c.value IS NOT NULL
        ON CONFLICT (subscriber, generation, key) DO UPDATE SET value = excluded.value
    ), dropped AS (
        DELETE FROM {schema}.rows r
        USING moved m, unnest($13::text[], $14::text[]) AS c(key, value)
        WHERE r.subscriber = m.id AND r.generation = ($3::integer[])[1] AND r.key = c.key
          AND c.value IS NULL
    )
    SELECT m.id FROM moved m";

const OF_ACTIVE: &str = " FROM {schema}.rows r WHERE (r.subscriber, r.generation) = (
        SELECT g.subscriber, g.generation
        FROM {schema}.subscribers s JOIN {schema}.generations g ON g.subscriber = s.id
        WHERE s.name = $1 AND g.role = 0) ";

const SWEEP: &str = "DELETE FROM {schema}.rows r WHERE r.ctid = ANY (ARRAY(
        SELECT o.ctid FROM {schema}.rows o
        JOIN {schema}.subscribers s ON s.id = o.subscriber
        WHERE s.name = $1 AND o.generation <> ALL ($2)
          AND NOT EXISTS (SELECT FROM {schema}.generations g
                          WHERE g.subscriber = o.subscriber AND g.generation = o.generation)
        LIMIT $3)) RETURNING 1";

#[async_trait]
impl RowStore for PostgresReadSide {
    async fn rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Result<Vec<Row>, ReadSideError> {
        let keys: Vec<&str> = keys.iter().map(RowKey::as_str).collect();
        if keys.is_empty() || keys.iter().any(|key| key.contains('\0')) {
            // There is none that PostgreSQL cannot keep.
            return self.without_nul(lease, &keys).await;
        }
        self.listed("reading rows", || {
            Sql::of(ROWS_OF)
                .value(lease.subscriber.as_str())
                .value(stored(lease.generation.get()))
                .value(&keys)
        })
        .await
    }

    async fn commit_rows(
        &self,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Result<(), ReadSideError> {
        let limits = &self.shared.limits;
        changes.iter().try_for_each(|change| limits.check_row(change))?;
        let changes = Changes::of(&changes)?;
        let columns = Advances::of(slice::from_ref(advance));
        let moved = self.ask("writing rows", || {
            columns
                .bind(Sql::of(COMMIT), advance.now)
                .value(&changes.keys)
                .value(&changes.values)
                .value(self.shared.early)
        });
        if moved.await?.is_empty() { Err(fenced(&advance.lease)) } else { Ok(()) }
    }

    async fn row(
        &self,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> Result<Option<Row>, ReadSideError> {
        if key.as_str().contains('\0') {
            return Ok(None);
        }
        let found = self.listed("reading a row", || {
            let mut sql = Sql::of("SELECT r.key, r.value").value(subscriber.as_str());
            sql.push(OF_ACTIVE).push("AND r.key = ").bind(key.as_str());
            sql
        });
        Ok(found.await?.pop())
    }

    async fn rows(
        &self,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Result<Vec<Row>, ReadSideError> {
        if list.prefix.contains('\0') {
            return Ok(Vec::new());
        }
        // No key stands between one with NUL and the same without it and all behind.
        let after = list.after.as_ref().map(|key| key.as_str());
        let after = after.map(|key| key.split('\0').next().unwrap_or_default());
        let beyond = after_all_with(&list.prefix);
        self.listed("listing rows", || {
            let mut sql = Sql::of("SELECT r.key, r.value").value(subscriber.as_str());
            sql.push(OF_ACTIVE);
            if let Some(after) = after {
                sql.push("AND r.key > ").bind(after);
            }
            if !list.prefix.is_empty() {
                sql.push(" AND r.key >= ").bind(list.prefix.as_str());
            }
            if let Some(beyond) = &beyond {
                sql.push(" AND r.key < ").bind(beyond.as_str());
            }
            sql.push(" ORDER BY r.key LIMIT ").bind(i64::from(count(list.limit)));
            sql
        })
        .await
    }

    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> Result<usize, ReadSideError> {
        let keep: Vec<i32> = keep.iter().map(|generation| stored(generation.get())).collect();
        let swept = self.ask("sweeping rows", || {
            Sql::of(SWEEP).value(subscriber.as_str()).value(&keep).value(i64::from(count(limit)))
        });
        Ok(swept.await?.len())
    }
}

impl PostgresReadSide {
    async fn without_nul(&self, lease: &Lease, keys: &[&str]) -> Result<Vec<Row>, ReadSideError> {
        let keys: Vec<_> = keys.iter().filter(|key| !key.contains('\0')).collect();
        let keys: Vec<RowKey> = keys.into_iter().map(|key| RowKey::new(*key)).collect();
        if keys.is_empty() { Ok(Vec::new()) } else { self.rows_of(lease, &keys).await }
    }

    async fn listed(
        &self,
        doing: &'static str,
        statement: impl Fn() -> Sql + Send + Sync,
    ) -> Result<Vec<Row>, ReadSideError> {
        let rows = self.ask(doing, statement).await?;
        let rows = rows.iter().map(decode).collect::<Result<_, _>>();
        rows.map_err(|error| read_side_error(doing, error))
    }
}

/// Changes as columns, one for each key.
pub(crate) struct Changes<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) values: Vec<Option<&'a str>>,
}

impl<'a> Changes<'a> {
    /// In the order of the keys, in which everybody locks them; of several for one key the last.
    pub(crate) fn of(changes: &'a [RowChange]) -> Result<Self, ReadSideError> {
        let mut last = BTreeMap::new();
        for change in changes {
            let value = change.value.as_ref().map(|json| std::str::from_utf8(json)).transpose();
            let value = value.map_err(|error| {
                let doing = "writing a row whose value is not UTF-8, and so no JSON";
                ReadSideError::Corrupt(Fault::because(doing, error))
            })?;
            last.insert(change.key.as_str(), value);
        }
        let (keys, values) = last.into_iter().unzip();
        Ok(Self { keys, values })
    }
}

/// A row of two columns: the key, and the text of the value as it was written.
pub(crate) fn decode(row: &PgRow) -> Result<Row, Error> {
    let value = row.try_get_raw(1)?;
    let value =
        value.as_bytes().map_err(|source| Error::ColumnDecode { index: "1".into(), source })?;
    Ok(Row { key: RowKey::new(get::<String>(row, 0)?), value: Bytes::copy_from_slice(value) })
}

/// The first text behind all that begin with a prefix, in the order of bytes; none when nothing is.
fn after_all_with(prefix: &str) -> Option<String> {
    let mut beyond: Vec<char> = prefix.chars().collect();
    while let Some(last) = beyond.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            beyond.push(next);
            return Some(beyond.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_prefix_is_the_next_text_without_it() {
        let beyond = |prefix: &str| after_all_with(prefix);
        assert_eq!(beyond(""), None);
        assert_eq!(beyond("a").as_deref(), Some("b"));
        assert_eq!(beyond("a\u{7f}").as_deref(), Some("a\u{80}"));
        assert_eq!(beyond("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(beyond("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(beyond("\u{10ffff}"), None);
    }
}
