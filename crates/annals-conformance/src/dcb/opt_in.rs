//! A sign-up is confirmed with a token, once and in time.

use std::time::Duration;

use annals_core::Timestamp;
use serde_json::json;

use super::{Refusal, decide, fact, is};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{stream, tagged};

const VALID_FOR: Duration = Duration::from_secs(3600);

fn minute(number: i64) -> Timestamp {
    Timestamp::from_micros(number * 60_000_000)
}

async fn sign_up(store: &Probe, mail: &str, token: &str, now: Timestamp) {
    let own = format!("token:{token}");
    let started = decide(store, tagged([own.as_str()]), |history| {
        if !history.is_empty() {
            return Err("the token exists already");
        }
        let tags = [own.clone(), format!("mail:{mail}")];
        let event = fact("SignUpStarted", &tags, &json!({ "mail": mail }));
        Ok((stream(format!("signup-{token}")), event.occurred_at(now)))
    });
    started.await.map(drop).expect("the case gives out new tokens");
}

/// Only the tags of mail and token together find the sign-up: a token guessed for another
/// address is unknown.
async fn confirm(store: &Probe, mail: &str, token: &str, now: Timestamp) -> Result<(), Refusal> {
    let tags = [format!("token:{token}"), format!("mail:{mail}")];
    let query = tagged([tags[0].as_str(), tags[1].as_str()]);
    let confirmed = decide(store, query, |history| {
        let started = history.iter().find(|event| is(event, "SignUpStarted"));
        let started = started.ok_or("the token is unknown")?;
        if history.iter().any(|event| is(event, "SignUpConfirmed")) {
            return Err("the token was used already");
        }
        if now > started.occurred_at.saturating_add(VALID_FOR) {
            return Err("the token has expired");
        }
        let event = fact("SignUpConfirmed", &tags, &json!({}));
        Ok((stream(format!("signup-{token}")), event.occurred_at(now)))
    });
    confirmed.await.map(drop)
}

pub(crate) async fn dcb_opt_in_tokens(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    sign_up(&store, "ada@example.org", "1111", minute(0)).await;
    sign_up(&store, "eve@example.org", "2222", minute(0)).await;
    let confirm = |mail, token, now| confirm(&store, mail, token, minute(now));
    assert_eq!(confirm("ada@example.org", "0000", 1).await, Err("the token is unknown"));
    assert_eq!(confirm("eve@example.org", "1111", 1).await, Err("the token is unknown"));
    assert_eq!(confirm("ada@example.org", "1111", 60).await, Ok(()));
    assert_eq!(confirm("ada@example.org", "1111", 61).await, Err("the token was used already"));
    assert_eq!(confirm("eve@example.org", "2222", 61).await, Err("the token has expired"));
}

/// An impatient user clicks eight times at once.
pub(crate) async fn dcb_opt_in_tokens_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for token in ["1111", "2222", "3333"] {
        sign_up(&store, "ada@example.org", token, minute(0)).await;
        let outcomes = together(8, |_| {
            let store = store.clone();
            async move { confirm(&store, "ada@example.org", token, minute(1)).await }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "of eight clicks");
        assert_eq!(lost, [Err("the token was used already"); 7]);
    }
    assert_eq!(store.log().await.len(), 6);
}
