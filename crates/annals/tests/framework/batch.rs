//! Batches: all commands or none, each deciding on what those before it decided.

use std::sync::Arc;

use annals::{
    Annals, Context, EventStoreExt, ExecuteError, MemoryStore, Read, RetryPolicy, StreamCatalog,
    Version,
};
use tokio::task::JoinSet;

use crate::account::{Account, Refusal, deposit, open, withdraw};
use crate::stores::{Meet, Scripted};

async fn two_accounts() -> (Annals, MemoryStore) {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    for (id, owner) in [("1", "Ada"), ("2", "Bob")] {
        bank.execute(id, open(owner)).await.unwrap();
        bank.execute(id, deposit(100)).await.unwrap();
    }
    (bank, store)
}

async fn balances(bank: &Annals) -> (u64, u64) {
    let one = bank.load::<Account>("1").await.unwrap().state.balance;
    (one, bank.load::<Account>("2").await.unwrap().state.balance)
}

#[tokio::test]
async fn all_commands_are_one_append() {
    let (bank, store) = two_accounts().await;
    let transfer = bank.batch().execute("1", withdraw(30)).execute("2", deposit(30));
    let batched = transfer.await.unwrap();
    let receipt = batched.appended.unwrap();
    assert_eq!(receipt.streams.len(), 2);
    assert_eq!(balances(&bank).await, (70, 130));
    let after = Read::all().after(annals::Position::new(receipt.first_position.get() - 1));
    let written = store.read_to_end(after).await.unwrap();
    assert_eq!(written.len(), 2);
    assert_eq!(written[0].recorded_at, written[1].recorded_at);
}

#[tokio::test]
async fn one_refusal_refuses_all_and_says_which() {
    let (bank, store) = two_accounts().await;
    let before = store.stats().await.unwrap();
    let transfer = bank.batch().execute("2", deposit(300)).execute("1", withdraw(300));
    let error = transfer.await.unwrap_err();
    assert_eq!(error.part, Some(1));
    let ExecuteError::Refused(refusal) = &error.error else { panic!("{error:?}") };
    assert_eq!(refusal.downcast_ref(), Some(&Refusal::InsufficientFunds { held: 100 }));
    assert_eq!(error.to_string(), "command 1 of the batch: only 100 is in the account");
    assert_eq!(store.stats().await.unwrap(), before);
}

#[tokio::test]
async fn what_is_wrong_with_any_command_is_said_before_anything_is_loaded() {
    // The first account holds an event that cannot be decoded: loading it would be the error.
    let store = MemoryStore::new();
    crate::load::append_raw(&store, "Nonsense", "{}").await;
    let bank = Annals::new(store);
    let batch = bank.batch().execute("ACC_123", deposit(1)).execute("2", deposit(0));
    let error = batch.await.unwrap_err();
    assert!(matches!(error.error, ExecuteError::Invalid(_)), "{error:?}");
    assert_eq!(error.part, Some(1));
}

#[tokio::test]
async fn later_commands_see_what_earlier_ones_decided() {
    let bank = Annals::new(MemoryStore::new());
    let batch =
        bank.batch().execute("1", open("Ada")).execute("1", deposit(5)).execute("1", withdraw(5));
    let receipt = batch.await.unwrap().appended.unwrap();
    assert_eq!(receipt.streams[0].version, Version::new(3));
    let batch = bank.batch().execute("1", deposit(5)).execute("1", withdraw(6));
    let error = batch.await.unwrap_err();
    assert_eq!(error.to_string(), "command 1 of the batch: only 5 is in the account");
}

#[tokio::test]
async fn nothing_to_do_appends_nothing_but_counts_when_others_do() {
    let (bank, store) = two_accounts().await;
    let rename = crate::account::AccountCommand::Rename { owner: "Ada".into() };
    let before = store.stats().await.unwrap();
    let batched = bank.batch().execute("1", rename.clone()).await.unwrap();
    assert_eq!(batched.appended, None);
    assert_eq!(store.stats().await.unwrap(), before);
    assert!(bank.batch().await.unwrap().appended.is_none());

    // Its stream's version is checked all the same.
    let script: &[Meet] = &[Meet::AfterAnother, Meet::Honestly];
    let scripted = Arc::new(Scripted::new(&store, script));
    let racing = Annals::new(scripted.clone());
    racing.batch().execute("1", rename).execute("2", deposit(1)).await.unwrap();
    assert_eq!(scripted.met().len(), 2);
}

#[tokio::test]
async fn the_same_batch_again_has_the_first_receipt() {
    let (bank, _) = two_accounts().await;
    let transfer =
        || bank.batch().execute("1", withdraw(30)).execute("2", deposit(30)).id("transfer-7");
    let first = transfer().await.unwrap();
    let again = transfer().await.unwrap();
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(first.appended, again.appended);
    assert_eq!(balances(&bank).await, (70, 130));
    // Another batch under the same id is another matter.
    let other = bank.batch().execute("1", withdraw(30)).id("transfer-7").await.unwrap_err();
    assert!(matches!(other.error, ExecuteError::CommandId { .. }), "{other:?}");
}

#[tokio::test]
async fn refused_parts_are_recorded_when_that_is_wanted() {
    let (bank, store) = two_accounts().await;
    let audited = bank.recording_refusals();
    let context = Context::new().actor("ada");
    let batch = audited.batch().execute("2", deposit(1)).execute("1", withdraw(101));
    batch.context(context).await.unwrap_err();
    let refusals = Read::stream(annals::StreamId::from_static("refusal-account-1"));
    let refusals = store.read_to_end(refusals).await.unwrap();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].metadata.get("actor"), Some("ada".into()));
}

/// Many transfers in both directions: the sum stays what it was, and nobody is overdrawn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transfers_keep_the_sum() {
    let (bank, _) = two_accounts().await;
    let bank = bank.with_retry(RetryPolicy::default().attempts_max(200));
    let mut tasks = JoinSet::new();
    for n in 0..64_u64 {
        let bank = bank.clone();
        let (from, to) = if n % 2 == 0 { ("1", "2") } else { ("2", "1") };
        tasks.spawn(async move {
            let amount = n / 2 + 1;
            let transfer =
                bank.batch().execute(from, withdraw(amount)).execute(to, deposit(amount));
            match transfer.await {
                Ok(_) => 1,
                Err(error) => {
                    assert!(matches!(error.error, ExecuteError::Refused(_)), "{error:?}");
                    0
                }
            }
        });
    }
    let transferred: u32 = tasks.join_all().await.into_iter().sum();
    assert!(transferred > 0);
    let (one, two) = balances(&bank).await;
    assert_eq!(one + two, 200);
}
