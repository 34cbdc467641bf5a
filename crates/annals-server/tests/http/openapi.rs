use std::collections::BTreeSet;

use annals_server::routes;
use serde_json::{Value, json};

use crate::client::Server;
use crate::derived::Derived;

fn document() -> Value {
    serde_json::from_str(annals_api::OPENAPI).unwrap()
}

#[test]
fn the_document_and_the_routes_are_the_same() {
    let document = document();
    let methods = ["get", "post", "put", "delete", "patch"];
    let documented: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().unwrap();
            let methods = item.keys().filter(|key| methods.contains(&key.as_str()));
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let served: BTreeSet<_> =
        routes().into_iter().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(documented, served);
}

/// Asserts that an answer has every field that its schema demands, and none that it does not
/// know.
#[track_caller]
fn fits(answer: &Value, schema: &str) {
    let document = document();
    let schema = &document["components"]["schemas"][schema];
    let answer = answer.as_object().unwrap();
    for name in schema["required"].as_array().unwrap() {
        assert!(answer.contains_key(name.as_str().unwrap()), "{name} is missing in {answer:?}");
    }
    for name in answer.keys() {
        assert!(schema["properties"].get(name).is_some(), "{name} is not documented");
    }
}

#[tokio::test]
async fn answers_fit_their_schemas() {
    let server = Server::start().await;
    let event = json!({"type": "A", "data_base64": "AA==", "content_type": "x/y"}).to_string();
    fits(&server.post("/v1/streams/a-1", event.clone()).await.ok().json(), "Receipt");
    let page = server.get("/v1/events").await.ok().json();
    fits(&page, "EventPage");
    fits(&page["events"][0], "Event");
    let page = server.get("/v1/streams").await.ok().json();
    fits(&page, "StreamPage");
    fits(&page["streams"][0], "StreamInfo");
    fits(&server.get("/v1/stats").await.ok().json(), "Stats");
    fits(&server.get("/health").await.ok().json(), "Health");
    fits(&server.post("/v1/streams/a-1?expected=9", event).await.json(), "Problem");
    assert_eq!(server.get("/v1/openapi.json").await.ok().json(), document());
}

#[tokio::test]
async fn answers_about_the_read_side_fit_their_schemas() {
    let derived = Derived::start().await;
    let ids = derived.dead("email", &["ada"]).await;
    derived.enrol("balances", 1).await;
    let server = &derived.server;
    server.post("/v1/projections/balances/rebuild", "{}").await.ok();
    let projection = server.get("/v1/projections/balances").await.ok().json();
    fits(&projection, "Projection");
    fits(&projection["lag"], "Lag");
    fits(&projection["rebuild"], "RebuildProgress");
    fits(&projection["generations"][1], "ProjectionGeneration");
    fits(&projection["generations"][1]["parts"][0], "Part");
    fits(&server.get("/v1/projections/balances/parked").await.ok().json(), "ParkedPage");
    fits(&server.get("/v1/inboxes").await.ok().json()["inboxes"][0], "Inbox");
    let page = server.get("/v1/deliveries").await.ok().json();
    fits(&page, "DeliveryPage");
    fits(&page["deliveries"][0], "Delivery");
    let path = format!("/v1/deliveries/{}", ids[0].as_str().replace('/', "%2F"));
    let history = server.get(&path).await.ok().json();
    fits(&history, "DeliveryHistory");
    fits(&history["attempts"][0], "Attempt");
    fits(&server.delete("/v1/projections/balances").await.ok().json(), "Deleted");
    fits(&server.delete("/v1/inboxes/email").await.ok().json(), "Deleted");
}

#[tokio::test]
async fn what_is_not_documented_is_not_there() {
    let server = Server::start().await;
    let problem = server.get("/v1/nothing").await.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("/v1/openapi.json"));
    server.get("/v1/streams/a/b").await.problem(404, "not_found");
    server.get("/v1/append").await.problem(405, "method_not_allowed");
    server.post("/v1/events", "{}").await.problem(405, "method_not_allowed");
}
