//! A password is kept as its digest, and nowhere else.

use crate::client::SECRET;
use crate::on_both;
use crate::place::Place;
use crate::served::Served;
use serde_json::{Value, json};
use users::password::PasswordDigest;

on_both!(a_password_is_only_kept_as_its_digest);

async fn a_password_is_only_kept_as_its_digest(place: Place) {
    let served = Served::start(&place).await;
    let created = served.client.create("ada@example.org").await;
    assert!(!created.text.contains("argon2id") && !created.text.contains(SECRET), "{created:?}");
    created.is(201);
    // One that is refused after it was read.
    served.client.create("ada@example.org").await.problem(409, "email_taken");
    let invalid = json!({ "user": { "name": "", "email": "x", "password": SECRET } });
    let invalid = served.client.post(&invalid).await;
    assert!(!invalid.text.contains(SECRET), "{invalid:?}");

    let in_row = place.value("SELECT password_digest FROM users").await;
    let payload = place.value("SELECT payload FROM user_events").await;
    let payload: Value = serde_json::from_str(&payload).expect("JSON");
    assert_eq!(payload["password_digest"], json!(in_row));
    assert!(in_row.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{in_row}");
    let digest: PasswordDigest = serde_json::from_value(json!(in_row)).expect("a digest");
    assert!(digest.is_of(SECRET) && !digest.is_of("another one"));

    assert!(place.holds(&in_row).await, "the search finds what is there");
    assert!(!place.holds(SECRET).await);
    served.stop().await;
    assert!(!place.holds(SECRET).await, "nor after everything is flushed");
}
