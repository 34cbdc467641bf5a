//! A username belongs to one account at a time, and is kept back for a while when given up.

use std::time::Duration;

use annals_core::{NewEvent, RecordedEvent, StreamId, Timestamp};
use serde_json::json;

use super::{Refusal, decide, fact, is};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{stream, tag, tagged};

const KEPT_BACK: Duration = Duration::from_secs(3 * 24 * 3600);
const TAKEN: Refusal = "the username is taken";

fn day(number: i64) -> Timestamp {
    Timestamp::from_micros(number * 24 * 3600 * 1_000_000)
}

/// Everything that concerns a username carries its tag, also the event that gives it up.
async fn with_name(
    store: &Probe,
    name: &str,
    now: Timestamp,
    claim: impl Fn() -> (StreamId, NewEvent),
) -> Result<(), Refusal> {
    let text = format!("username:{name}");
    let claimed = decide(store, tagged([text.as_str()]), |history| {
        if is_claimed(history, name, now) { Err(TAKEN) } else { Ok(claim()) }
    });
    claimed.await.map(drop)
}

fn is_claimed(history: &[RecordedEvent], name: &str, now: Timestamp) -> bool {
    history.last().is_some_and(|last| {
        let given_up = is(last, "AccountClosed") || super::field(last, "old") == json!(name);
        !given_up || now < last.occurred_at.saturating_add(KEPT_BACK)
    })
}

async fn register(
    store: &Probe,
    account: usize,
    name: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    with_name(store, name, now, || {
        let event = fact("AccountRegistered", &[format!("username:{name}")], &json!({}));
        (stream(format!("account-{account}")), event.occurred_at(now))
    })
    .await
}

async fn rename(
    store: &Probe,
    account: usize,
    old: &str,
    new: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    with_name(store, new, now, || {
        let tags = [format!("username:{old}"), format!("username:{new}")];
        let event = fact("UsernameChanged", &tags, &json!({ "old": old, "new": new }));
        (stream(format!("account-{account}")), event.occurred_at(now))
    })
    .await
}

async fn close(store: &Probe, account: usize, name: &str, now: Timestamp) -> Result<(), Refusal> {
    let text = format!("username:{name}");
    let closed = decide(store, tagged([text.as_str()]), |history| {
        let own = stream(format!("account-{account}"));
        match history.last() {
            Some(last) if last.stream == own && !is(last, "AccountClosed") => {
                let event = fact("AccountClosed", std::slice::from_ref(&text), &json!({}));
                Ok((own, event.occurred_at(now)))
            }
            _ => Err("the account does not have this username"),
        }
    });
    closed.await.map(drop)
}

pub(crate) async fn dcb_unique_usernames(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(register(&store, 1, "ada", day(1)).await, Ok(()));
    assert_eq!(register(&store, 2, "ada", day(1)).await, Err(TAKEN));
    assert_eq!(register(&store, 2, "grace", day(1)).await, Ok(()));
    assert_eq!(rename(&store, 2, "grace", "ada", day(2)).await, Err(TAKEN));
    assert_eq!(rename(&store, 1, "ada", "countess", day(2)).await, Ok(()));
    assert_eq!(register(&store, 3, "countess", day(9)).await, Err(TAKEN));
    assert_eq!(register(&store, 3, "ada", day(4)).await, Err(TAKEN), "it is kept back");
    assert_eq!(register(&store, 3, "ada", day(5)).await, Ok(()));
    assert_eq!(close(&store, 2, "grace", day(5)).await, Ok(()));
    assert_eq!(register(&store, 4, "grace", day(6)).await, Err(TAKEN), "it is kept back");
    assert_eq!(rename(&store, 3, "ada", "grace", day(8)).await, Ok(()));
}

/// Some register with the name they all want, some rename to it: one gets it. Then it is given
/// up, and one gets it again.
pub(crate) async fn dcb_unique_usernames_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for account in 0..5 {
        assert_eq!(register(&store, account, &format!("name{account}"), day(1)).await, Ok(()));
    }
    for (round, now) in [day(10), day(20)].into_iter().enumerate() {
        let outcomes = together(10, |n| {
            let store = store.clone();
            async move {
                if n < 5 && round == 0 {
                    rename(&store, n, &format!("name{n}"), "star", now).await
                } else {
                    register(&store, 100 * (round + 1) + n, "star", now).await
                }
            }
        })
        .await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "of ten that wanted the name: {outcomes:?}");
        let log = store.log().await;
        let holder = log.iter().rfind(|event| event.tags.contains(&tag("username:star")));
        let account = holder.and_then(|event| event.stream.id().parse().ok());
        let account = account.expect("the winner's event is tagged with the name");
        assert_eq!(close(&store, account, "star", now).await, Ok(()));
    }
}
