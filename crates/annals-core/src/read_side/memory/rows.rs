//! Rows in memory.

use std::ops::Bound;

use async_trait::async_trait;

use super::{Kept, MemoryReadSide, Rows};
use crate::SubscriberName;
use crate::error::ReadSideError;
use crate::read_side::{Advance, Generation, Lease, ListRows, Row, RowChange, RowKey, RowStore};

#[async_trait]
impl RowStore for MemoryReadSide {
    async fn rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Result<Vec<Row>, ReadSideError> {
        let kept = self.kept();
        let Some(rows) = kept.rows.get(&(lease.subscriber.clone(), lease.generation)) else {
            return Ok(Vec::new());
        };
        Ok(keys.iter().filter_map(|key| rows.get_key_value(key)).map(row).collect())
    }

    async fn commit_rows(
        &self,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Result<(), ReadSideError> {
        changes.iter().try_for_each(|change| self.limits.check_row(change))?;
        let mut kept = self.kept();
        kept.advance(advance)?;
        let lease = &advance.lease;
        let rows = kept.rows.entry((lease.subscriber.clone(), lease.generation)).or_default();
        changes.into_iter().for_each(|change| write(rows, change));
        Ok(())
    }

    async fn row(
        &self,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> Result<Option<Row>, ReadSideError> {
        let kept = self.kept();
        Ok(kept.active_rows(subscriber).and_then(|rows| rows.get_key_value(key)).map(row))
    }

    async fn rows(
        &self,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Result<Vec<Row>, ReadSideError> {
        let kept = self.kept();
        let Some(rows) = kept.active_rows(subscriber) else { return Ok(Vec::new()) };
        let after = list.after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = rows.range((after, Bound::Unbounded));
        let listed = listed.filter(|(key, _)| key.as_str().starts_with(&list.prefix));
        Ok(listed.take(list.limit).map(row).collect())
    }

    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> Result<usize, ReadSideError> {
        let mut kept = self.kept();
        let Kept { subscribers, rows, .. } = &mut *kept;
        let known = subscribers.get(subscriber).map(|found| &found.generations[..]);
        let known = known.unwrap_or_default();
        let mut dropped = 0;
        rows.retain(|(owner, generation), rows| {
            let stays = owner != subscriber
                || keep.contains(generation)
                || known.iter().any(|built| built.generation == *generation);
            if !stays {
                while dropped < limit && rows.pop_first().is_some() {
                    dropped += 1;
                }
            }
            !rows.is_empty()
        });
        Ok(dropped)
    }
}

impl Kept {
    fn active_rows(&self, subscriber: &SubscriberName) -> Option<&Rows> {
        let active = self.subscribers.get(subscriber)?.active().generation;
        self.rows.get(&(subscriber.clone(), active))
    }
}

pub(super) fn write(rows: &mut Rows, change: RowChange) {
    match change.value {
        Some(value) => rows.insert(change.key, value),
        None => rows.remove(&change.key),
    };
}

fn row((key, value): (&RowKey, &bytes::Bytes)) -> Row {
    Row { key: key.clone(), value: value.clone() }
}
