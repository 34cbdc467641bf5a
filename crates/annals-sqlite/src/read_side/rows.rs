//! Rows: a JSON value under a key each, beside the checkpoints.

use std::sync::Arc;

use annals_core::{
    Advance, Generation, Lease, ListRows, ReadSideError, Row, RowChange, RowKey, RowStore,
    SubscriberName,
};
use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result};

use super::checkpoint::{Outcome, advance};
use super::subscriber::find;
use super::{SqliteReadSide, stored_limit};

#[async_trait]
impl RowStore for SqliteReadSide {
    async fn rows_of(
        &self,
        lease: &Lease,
        keys: &[RowKey],
    ) -> std::result::Result<Vec<Row>, ReadSideError> {
        let (subscriber, generation) = (lease.subscriber.clone(), lease.generation.get());
        let keys = keys.to_vec();
        self.read("reading rows", move |connection| {
            let Some(id) = find(connection, &subscriber)? else { return Ok(Vec::new()) };
            let rows = keys.into_iter().filter_map(|key| {
                let value = value_of(connection, id, generation, &key).transpose()?;
                Some(value.map(|value| Row { key, value }))
            });
            rows.collect()
        })
        .await
    }

    async fn commit_rows(
        &self,
        changes: Vec<RowChange>,
        moved: &Advance,
    ) -> std::result::Result<(), ReadSideError> {
        changes.iter().try_for_each(|change| self.limits().check_row(change))?;
        let moved = moved.clone();
        self.write("writing rows", move |connection| commit(connection, &changes, &moved)).await
    }

    async fn row(
        &self,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> std::result::Result<Option<Row>, ReadSideError> {
        let (subscriber, key) = (subscriber.clone(), key.clone());
        self.read("reading a row", move |connection| {
            let Some((id, generation)) = active(connection, &subscriber)? else { return Ok(None) };
            let value = value_of(connection, id, generation, &key)?;
            Ok(value.map(|value| Row { key, value }))
        })
        .await
    }

    async fn rows(
        &self,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> std::result::Result<Vec<Row>, ReadSideError> {
        let subscriber = subscriber.clone();
        self.read("listing rows", move |connection| {
            let Some((id, generation)) = active(connection, &subscriber)? else {
                return Ok(Vec::new());
            };
            list_rows(connection, id, generation, &list)
        })
        .await
    }

    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> std::result::Result<usize, ReadSideError> {
        let (subscriber, keep): (_, Arc<[Generation]>) = (subscriber.clone(), keep.into());
        self.write("sweeping rows", move |connection| {
            let Some(id) = find(connection, &subscriber)? else { return Ok(Ok(0)) };
            sweep(connection, id, &keep, limit).map(Ok)
        })
        .await
    }
}

fn commit(connection: &Connection, changes: &[RowChange], moved: &Advance) -> Outcome<()> {
    if let Err(refused) = advance(connection, moved)? {
        return Ok(Err(refused));
    }
    let lease = &moved.lease;
    let id = find(connection, &lease.subscriber)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    write_rows(connection, id, lease.generation.get(), changes)?;
    Ok(Ok(()))
}

/// Writes rows that were checked.
pub(crate) fn write_rows(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
    changes: &[RowChange],
) -> Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO annals_rows (subscriber, generation, key, value) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM annals_rows WHERE subscriber = ?1 AND generation = ?2 AND key = ?3",
    )?;
    for change in changes {
        let key = change.key.as_str();
        match &change.value {
            Some(value) => put.execute((subscriber, generation, key, value.as_ref()))?,
            None => delete.execute((subscriber, generation, key))?,
        };
    }
    Ok(())
}

pub(crate) fn value_of(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
    key: &RowKey,
) -> Result<Option<Bytes>> {
    connection
        .prepare_cached(
            "SELECT value FROM annals_rows WHERE subscriber = ?1 AND generation = ?2 AND key = ?3",
        )?
        .query_row((subscriber, generation, key.as_str()), |row| {
            Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
        })
        .optional()
}

/// The active generation of a subscriber, if it is known.
fn active(connection: &Connection, name: &SubscriberName) -> Result<Option<(i64, u32)>> {
    connection
        .prepare_cached(
            "SELECT s.id, g.generation FROM annals_subscribers s
             JOIN annals_generations g ON g.subscriber = s.id AND g.role = 0
             WHERE s.name = ?1",
        )?
        .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn list_rows(
    connection: &Connection,
    subscriber: i64,
    generation: u32,
    list: &ListRows,
) -> Result<Vec<Row>> {
    let mut select = connection.prepare_cached(
        "SELECT key, value FROM annals_rows
         WHERE subscriber = ?1 AND generation = ?2 AND key >= ?3 ORDER BY key",
    )?;
    // Texts are compared byte by byte, so those with a prefix stand together.
    let after = list.after.as_ref().map(RowKey::as_str);
    let from = after.map_or(&*list.prefix, |after| after.max(&*list.prefix));
    let mut found = select.query((subscriber, generation, from))?;
    let mut rows = Vec::new();
    while rows.len() < list.limit
        && let Some(row) = found.next()?
    {
        let key = row.get_ref(0)?.as_str()?;
        if !key.starts_with(&*list.prefix) {
            break;
        }
        if after != Some(key) {
            let value = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
            rows.push(Row { key: RowKey::new(key), value });
        }
    }
    Ok(rows)
}

/// Drops rows of generations that are gone, and are not to be kept.
pub(crate) fn sweep(
    connection: &Connection,
    id: i64,
    keep: &[Generation],
    limit: usize,
) -> Result<usize> {
    let mut next = connection.prepare_cached(
        "SELECT generation FROM annals_rows WHERE subscriber = ?1 AND generation > ?2
         ORDER BY generation LIMIT 1",
    )?;
    let mut is_used = connection.prepare_cached(
        "SELECT 1 FROM annals_generations WHERE subscriber = ?1 AND generation = ?2",
    )?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM annals_rows WHERE subscriber = ?1 AND generation = ?2 AND key IN
             (SELECT key FROM annals_rows WHERE subscriber = ?1 AND generation = ?2 LIMIT ?3)",
    )?;
    let (mut swept, mut behind) = (0, 0);
    while swept < limit {
        let found = next.query_row((id, behind), |row| row.get::<_, u32>(0)).optional()?;
        let Some(generation) = found else { break };
        behind = generation;
        if !keep.contains(&Generation::new(generation)) && !is_used.exists((id, generation))? {
            swept += delete.execute((id, generation, stored_limit(limit - swept)))?;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use annals_core::{CheckpointStore, Claim, Enrol, OnNewVersion, Position, Timestamp};

    use super::*;

    /// Enrols, or rebuilds, and claims the only part of it.
    async fn work(side: &SqliteReadSide, version: u32) -> Lease {
        let enrol = Enrol {
            subscriber: SubscriberName::from_static("a"),
            version,
            partitions: 1,
            after: Position::START,
            on_new_version: OnNewVersion::Rebuild,
            now: Timestamp::EPOCH,
        };
        let info = side.enrol(enrol).await.unwrap();
        let made = info.generations.into_iter().find(|made| made.version == version).unwrap();
        let claim = Claim {
            subscriber: info.subscriber,
            generation: made.generation,
            partition: 0,
            owner: "test".into(),
            now: Timestamp::EPOCH,
            until: Timestamp::MAX,
        };
        side.claim(claim).await.unwrap().unwrap()
    }

    fn to_the_first(lease: &Lease) -> Advance {
        let (to, now) = (Position::new(1), Timestamp::EPOCH);
        Advance { lease: lease.clone(), to, events: 1, parked: Vec::new(), now }
    }

    /// A rebuild takes the place, and the old rows are swept, between the statements of a reader.
    #[tokio::test]
    async fn rows_are_those_of_one_moment() {
        let directory = tempfile::tempdir().unwrap();
        let side = SqliteReadSide::open(directory.path().join("rows.db")).unwrap();
        let old = work(&side, 1).await;
        let row = RowChange { key: "x".into(), value: Some("1".into()) };
        side.commit_rows(vec![row.clone()], &to_the_first(&old)).await.unwrap();

        let (looked, has_looked) = tokio::sync::oneshot::channel();
        let (swapped, has_swapped) = std::sync::mpsc::channel();
        let reading = side.read("listing rows", move |connection| {
            let (id, generation) = active(connection, &SubscriberName::from_static("a"))?.unwrap();
            looked.send(()).unwrap();
            has_swapped.recv().unwrap();
            list_rows(connection, id, generation, &ListRows { limit: 9, ..ListRows::default() })
        });
        let swapping = async {
            has_looked.await.unwrap();
            let new = work(&side, 2).await;
            side.commit_rows(vec![row], &to_the_first(&new)).await.unwrap();
            let activated = side.activate(&new.subscriber, new.generation, Timestamp::EPOCH).await;
            assert_eq!(activated.unwrap(), annals_core::Activation::Done);
            assert_eq!(side.sweep_rows(&new.subscriber, &[], 9).await.unwrap(), 1);
            swapped.send(()).unwrap();
        };
        let (rows, ()) = tokio::join!(reading, swapping);
        assert_eq!(rows.unwrap().len(), 1, "those that were read when it was asked");
    }
}
