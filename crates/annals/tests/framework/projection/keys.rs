//! Which part a key belongs to, and how often it counts.

use annals::{Annals, Keys, MemoryReadSide, MemoryStore, Partition, Projection, ReadModel};
use annals::{RecordedEvent, RowKey};

use crate::projection::bank::{AccountEvent, MoneyTransferred, append};
use crate::projection::places::SOON;

#[test]
fn what_belongs_to_which_part_is_decided_for_ever() {
    let of = |key| Partition::of(key, 4);
    let parts = [of(""), of("1"), of("2"), of("ACC_123"), of("account-1"), of("\u{e9}")];
    assert_eq!(parts, [1, 0, 1, 3, 0, 2]);
}

#[test]
fn parts_are_about_equal() {
    for count in [2, 3, 4, 7, 16] {
        let mut sizes = vec![0_u32; count as usize];
        for key in 0..10_000 {
            sizes[Partition::of(&key.to_string(), count) as usize] += 1;
        }
        let even = 10_000 / count;
        assert!(sizes.iter().all(|size| *size * 10 > even * 8), "{count}: {sizes:?}");
    }
}

#[test]
fn every_key_has_exactly_one_part() {
    for key in ["", "a", "account-17", "\u{1f980}"] {
        let owners = (0..5).filter(|index| Partition { index: *index, count: 5 }.owns(key));
        assert_eq!(owners.count(), 1);
        assert!(Partition::WHOLE.owns(key));
    }
}

/// How many transfers each account had to do with.
struct Transfers;

impl Projection for Transfers {
    type Event = AccountEvent;
    type Row = u64;
    const NAME: &'static str = "transfers";

    fn keys(&self) -> Keys<AccountEvent> {
        Keys::by(|event, recorded| match event {
            MoneyTransferred { to, .. } => vec![recorded.stream.id().into(), to.into()],
            _ => vec![],
        })
    }

    fn apply(
        &self,
        _: &RowKey,
        row: Option<u64>,
        _: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        Some(row.unwrap_or(0) + 1)
    }
}

#[tokio::test]
async fn a_key_that_is_named_twice_counts_once_in_whatever_way_it_is_run() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let beside_the_log = MemoryReadSide::new();
    let inline = ReadModel::new(Transfers, beside_the_log.clone());
    store.run_inline(&beside_the_log, [inline.fold()]).unwrap();
    let to = |to: &str| MoneyTransferred { to: to.into(), amount: 1 };
    let last = append(&store, 1, [to("1"), to("2"), to("1")]).await;

    let bank = Annals::new(store);
    let model = ReadModel::new(Transfers, rows);
    let running = bank.project(model.clone()).start();
    running.wait_for(last, SOON).await.unwrap();
    let live = bank.live(Transfers).rows().await.unwrap();
    for (account, times) in [("1", 3), ("2", 1)] {
        assert_eq!(model.get(account).await.unwrap(), Some(times), "async");
        assert_eq!(inline.get(account).await.unwrap(), Some(times), "inline");
        assert_eq!(live[&account.into()], times, "live");
    }
}
