//! What is asked, what is answered, and what the tables hold then.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};
use users::user::apply;
use users::users::history;

use crate::client::{SECRET, creation};
use crate::on_both;
use crate::place::Place;
use crate::served::Served;

on_both!(
    a_user_is_created_and_destroyed,
    what_is_wrong_is_told_and_nothing_is_written,
    unknown_parameters_are_dropped_and_named,
    users_are_listed_page_by_page,
    events_say_where_they_come_from,
    rows_can_be_calculated_again_from_their_events,
    the_address_of_a_deleted_user_is_free_again,
    only_loopback_hosts_are_answered,
);

async fn a_user_is_created_and_destroyed(place: Place) {
    let served = Served::start(&place).await;
    let created = served.client.create("ada@example.org").await.is(201);
    let id = created["id"].as_str().expect("an id");
    let keys: BTreeSet<&str> =
        created.as_object().expect("a user").keys().map(String::as_str).collect();
    let expected = ["created_at", "deleted", "dropped", "email", "id", "name", "updated_at"];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(created["deleted"], false);
    assert_eq!(created["dropped"], json!([]));

    let destroyed = served.client.destroy(id).await.is(200);
    assert_eq!((&destroyed["happened"], &destroyed["deleted"]), (&json!(true), &json!(true)));
    assert_eq!(destroyed["created_at"], created["created_at"]);
    // Once more: nothing happens, and the answer says so.
    let again = served.client.destroy(id).await.is(200);
    assert_eq!((&again["happened"], &again["id"]), (&json!(false), &destroyed["id"]));
    assert!(again["detail"].as_str().is_some_and(|detail| detail.contains("already")), "{again}");

    let rows = place.rows("SELECT id, name, email, version FROM users WHERE deleted").await;
    assert_eq!(rows, [[id, "Ada", "ada@example.org", "2"]]);
    let events = place.rows("SELECT user_id, event_type FROM user_events ORDER BY id").await;
    assert_eq!(events, [[id, "UserCreated"], [id, "UserDestroyed"]]);
    assert_eq!(place.counts().await, [1, 2, 0, 1]);

    let shown = served.client.get(&format!("/users/{id}/events")).await;
    assert!(!shown.text.contains("argon2id"), "{shown:?}");
    let shown = shown.is(200);
    let types: Vec<&Value> = shown["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| &event["event_type"])
        .collect();
    assert_eq!(types, ["UserCreated", "UserDestroyed"]);
    assert_eq!(shown["events"][0]["payload"], json!({ "name": "Ada", "email": "ada@example.org" }));
    assert_eq!(shown["events"][1]["payload"], json!({ "id": id }));
    served.stop().await;
}

async fn what_is_wrong_is_told_and_nothing_is_written(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let invalid = client.post(&json!({ "user": { "email": "ada", "password": "short" } })).await;
    let problem = invalid.problem(422, "invalid");
    let errors = problem["errors"].as_array().expect("errors");
    let faults: Vec<_> = errors.iter().map(|error| (&error["field"], &error["code"])).collect();
    let expected = json!([
        ["user.name", "missing"],
        ["user.email", "malformed"],
        ["user.password", "too_short"],
    ]);
    assert_eq!(json!(faults), expected);
    assert!(errors.iter().all(|error| error["message"].is_string()), "{problem}");

    let send = async |method, path: &str, body: &str| {
        client.send(client.request(method, path, body.to_owned())).await
    };
    let malformed = send(Method::POST, "/users/create", "{\"user\":").await;
    malformed.problem(400, "malformed");
    let too_large = send(Method::POST, "/users/create", &" ".repeat(16 * 1024 + 1)).await;
    too_large.problem(413, "too_large");
    let mut form = client.request(Method::POST, "/users/create", creation("a@b.c").to_string());
    form.headers_mut().insert("content-type", "text/plain".parse().expect("a value"));
    client.send(form).await.problem(415, "not_json");

    let nobody = "00000000-0000-7000-8000-000000000000";
    client.destroy(nobody).await.problem(404, "not_found");
    client.destroy("7").await.problem(422, "invalid");
    client.get(&format!("/users/{nobody}/events")).await.problem(404, "not_found");
    client.get("/users/7/events").await.problem(404, "not_found");
    for query in ["limit=0", "limit=101", "limit=many", "after=7"] {
        client.get(&format!("/users?{query}")).await.problem(400, "invalid_query");
    }
    client.get("/").await.problem(404, "not_found");
    send(Method::GET, "/users/create", "").await.problem(405, "method_not_allowed");
    assert_eq!(place.counts().await, [0, 0, 0, 0]);
}

async fn unknown_parameters_are_dropped_and_named(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let mut body = creation("ada@example.org");
    body["user"]["admin"] = json!("admin-value");
    body["user"]["deleted"] = json!(true);
    body["commit"] = json!(1);
    let created = client.post(&body).await.is(201);
    assert_eq!(created["dropped"], json!(["commit", "user.admin", "user.deleted"]));
    assert_eq!(created["deleted"], false);
    assert!(!place.holds("admin-value").await);
}

async fn users_are_listed_page_by_page(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let mut ids = Vec::new();
    for number in 1..=6 {
        ids.push(client.created(&format!("ada{number}@example.org")).await);
    }
    client.destroy(&ids.remove(2)).await.is(200);

    let (mut path, mut pages) = ("/users?limit=2".to_owned(), Vec::<Vec<String>>::new());
    loop {
        let page = client.get(&path).await.is(200);
        let users = page["users"].as_array().expect("users").clone();
        pages.push(
            users.iter().map(|user| user["id"].as_str().expect("an id").to_owned()).collect(),
        );
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<Vec<String>> = ids.chunks(2).map(<[_]>::to_vec).collect();
    assert_eq!(pages, expected);
    // A page that is full to the brim knows that it is the last.
    assert_eq!(client.get("/users?limit=5").await.is(200)["next"], Value::Null);
}

async fn events_say_where_they_come_from(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let body = creation("ada@example.org").to_string();
    let mut request = client.request(Method::POST, "/users/create", body);
    request.headers_mut().insert("x-request-id", "r-17".parse().expect("a value"));
    request.headers_mut().insert("user-agent", "Insomnia/9".parse().expect("a value"));
    let answer = client.send(request).await;
    assert_eq!(answer.headers["x-request-id"], "r-17");
    let answer = answer.is(201);

    let metadata = place.value("SELECT metadata FROM user_events").await;
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let expected = json!({
        "request_id": "r-17", "remote_address": "127.0.0.1", "user_agent": "Insomnia/9",
    });
    assert_eq!(metadata, expected);
    let id = answer["id"].as_str().expect("an id");
    let events = client.get(&format!("/users/{id}/events")).await;
    // An id that was not given, or makes no good one, is made.
    assert_eq!(events.headers["x-request-id"].len(), 36);
    let events = events.is(200);
    assert_eq!(events["events"][0]["metadata"], expected);
    assert_eq!(events["events"][0]["occurred_at"], answer["created_at"]);
}

async fn rows_can_be_calculated_again_from_their_events(place: Place) {
    let served = Served::start(&place).await;
    let (client, users) = (&served.client, &served.users);
    client.created("ada@example.org").await;
    let gone = client.created("bob@example.org").await;
    client.destroy(&gone).await.is(200);

    let again = async |id: &str| {
        let past = history(&**users, id.parse().expect("an id")).await.expect("a history");
        past.iter().fold(None, |row, past| apply(row, &past.happened)).expect("a row")
    };
    for row in users.list(None, 10).await.expect("the rows") {
        assert_eq!(again(&row.id.to_string()).await, row);
    }
    let stored = place
        .rows("SELECT id, name, email, password_digest, version FROM users WHERE deleted")
        .await;
    let row = again(&gone).await;
    assert!(row.deleted && row.updated_at > row.created_at, "{row:?}");
    assert!(row.password_digest.is_of(SECRET));
    assert_eq!(stored[0][..3], [row.id.to_string(), row.name, row.email]);
    assert_eq!(stored[0][4], row.version.to_string());
}

async fn the_address_of_a_deleted_user_is_free_again(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    let first = client.created("Ada@Example.org").await;
    let taken = client.create("aDA@example.ORG").await.problem(409, "email_taken");
    assert_eq!(taken["errors"][0]["field"], "user.email");
    assert_eq!(taken["errors"][0]["code"], "taken");
    client.destroy(&first).await.is(200);
    let second = client.created("ada@example.org").await;
    assert_ne!(first, second);
    client.create("ada@example.org").await.problem(409, "email_taken");
    assert_eq!(place.counts().await, [2, 3, 1, 1]);
}

async fn only_loopback_hosts_are_answered(place: Place) {
    let served = Served::start(&place).await;
    let client = &served.client;
    for (host, status) in [
        ("localhost", 200),
        ("[::1]:80", 200),
        ("example.org", 403),
        ("127.0.0.1.example.org", 403),
    ] {
        let mut request = client.request(Method::GET, "/users", "");
        request.headers_mut().insert("host", host.parse().expect("a value"));
        assert_eq!(client.send(request).await.status.as_u16(), status, "{host}");
    }
}
