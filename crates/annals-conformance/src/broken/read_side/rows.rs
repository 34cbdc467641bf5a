//! Breaches of what [`RowStore`](annals_core::RowStore) says.

use annals_core::{
    Advance, Generation, Lease, Limits, ListRows, Row, RowChange, RowKey, SubscriberName,
};
use async_trait::async_trait;

use super::{Done, Side};
use crate::read_side::ReadSideDecorator;

/// Writes rows, and takes none away.
#[derive(Debug)]
pub struct TakesNoRowsAway;

#[async_trait]
impl ReadSideDecorator for TakesNoRowsAway {
    async fn commit_rows(
        &self,
        side: &Side,
        mut changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        changes.retain(|change| change.value.is_some());
        side.commit_rows(changes, advance).await
    }
}

/// Leaves out rows that do not fit.
#[derive(Debug)]
pub struct LeavesLargeRowsOut;

#[async_trait]
impl ReadSideDecorator for LeavesLargeRowsOut {
    async fn commit_rows(
        &self,
        side: &Side,
        mut changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        changes.retain(|change| Limits::DEFAULT.check_row(change).is_ok());
        side.commit_rows(changes, advance).await
    }
}

/// Binds so many values at once and no more.
#[derive(Debug)]
pub struct WritesOnePage;

#[async_trait]
impl ReadSideDecorator for WritesOnePage {
    async fn commit_rows(
        &self,
        side: &Side,
        mut changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        changes.truncate(10_000);
        side.commit_rows(changes, advance).await
    }
}

/// Writes the rows of each commit in a transaction of their own, before the checkpoint moves.
#[derive(Debug)]
pub struct WritesBeforeItMoves;

#[async_trait]
impl ReadSideDecorator for WritesBeforeItMoves {
    async fn commit_rows(
        &self,
        side: &Side,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        let part = side.subscriber(&advance.lease.subscriber).await?.and_then(|info| {
            let index = advance.lease.partition.index as usize;
            info.active().and_then(|built| built.partitions.get(index).cloned())
        });
        if let Some(part) = part {
            let (lease, now) = (advance.lease.clone(), advance.now);
            let nothing = Advance { lease, to: part.position, events: 0, parked: Vec::new(), now };
            side.commit_rows(changes, &nothing).await?;
        }
        side.advance(advance).await
    }
}

/// Finds names whatever their case.
#[derive(Debug)]
pub struct ReadsInAnyCase;

#[async_trait]
impl ReadSideDecorator for ReadsInAnyCase {
    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Done<Vec<Row>> {
        let lower = SubscriberName::new(subscriber.as_str().to_lowercase());
        side.rows(&lower.expect("a name in lower case is one"), list).await
    }
}

/// Reads what is being built where there is such a thing.
#[derive(Debug)]
pub struct ReadsWhatIsBuilt;

#[async_trait]
impl ReadSideDecorator for ReadsWhatIsBuilt {
    async fn row(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> Done<Option<Row>> {
        let info = side.subscriber(subscriber).await?;
        let Some(built) = info.as_ref().and_then(|info| info.building()) else {
            return side.row(subscriber, key).await;
        };
        let lease = Lease {
            subscriber: subscriber.clone(),
            generation: built.generation,
            partition: built.partitions[0].partition,
            fence: 0,
            position: built.position(),
            failure: None,
        };
        Ok(side.rows_of(&lease, std::slice::from_ref(key)).await?.pop())
    }
}

/// Finds what was left of the generation before.
#[derive(Debug)]
pub struct FindsRowsOfTheGenerationBefore;

#[async_trait]
impl ReadSideDecorator for FindsRowsOfTheGenerationBefore {
    async fn rows_of(&self, side: &Side, lease: &Lease, keys: &[RowKey]) -> Done<Vec<Row>> {
        let rows = side.rows_of(lease, keys).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        let generation = Generation::new(lease.generation.get().saturating_sub(1));
        side.rows_of(&Lease { generation, ..lease.clone() }, keys).await
    }
}

/// Sweeps everything at once.
#[derive(Debug)]
pub struct SweepsAtOnce;

#[async_trait]
impl ReadSideDecorator for SweepsAtOnce {
    async fn sweep_rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        keep: &[Generation],
        _: usize,
    ) -> Done<usize> {
        side.sweep_rows(subscriber, keep, usize::MAX).await
    }
}

/// Has a collation that knows no capital letters.
#[derive(Debug)]
pub struct ListsRowsByAlphabet;

#[async_trait]
impl ReadSideDecorator for ListsRowsByAlphabet {
    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Done<Vec<Row>> {
        let mut rows = side.rows(subscriber, list).await?;
        rows.sort_by_key(|row| row.key.as_str().to_lowercase());
        Ok(rows)
    }
}

/// Finds keys with `LIKE`, and does not escape what they begin with.
#[derive(Debug)]
pub struct TakesPrefixesForPatterns;

#[async_trait]
impl ReadSideDecorator for TakesPrefixesForPatterns {
    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        mut list: ListRows,
    ) -> Done<Vec<Row>> {
        let end = list.prefix.find(['%', '_']).unwrap_or(list.prefix.len());
        list.prefix.truncate(end);
        side.rows(subscriber, list).await
    }
}

/// Begins a page with the last row of the page before.
#[derive(Debug)]
pub struct ListsFromAfter;

#[async_trait]
impl ReadSideDecorator for ListsFromAfter {
    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Done<Vec<Row>> {
        let ListRows { after, prefix, limit } = list;
        let all = ListRows { after: None, prefix, limit: usize::MAX };
        let mut rows = side.rows(subscriber, all).await?;
        rows.retain(|row| after.as_ref().is_none_or(|after| row.key >= *after));
        rows.truncate(limit);
        Ok(rows)
    }
}
