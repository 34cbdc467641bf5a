//! What was: older states, and events in older shapes.

use annals::{Data, EventStoreExt, EventType, ExpectedVersion, NewEvent, Read, StreamId};
use serde_json::{Value, json};
use shop::demo;

use crate::client::order;
use crate::served::Served;

#[tokio::test]
async fn an_item_is_shown_as_it_was() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    client.post("/orders", &order(&[("TEA", 4, 450)])).await.is(201);
    client.put("/items/TEA", &json!({ "price": 500 })).await.is(200);
    let shown = async |query: &str| {
        let item = client.get(&format!("/items/TEA{query}")).await.is(200);
        (item["version"].clone(), item["price"].clone(), item["stock"].clone())
    };
    let expected = |version, price, stock| (json!(version), json!(price), json!(stock));
    assert_eq!(shown("").await, expected(4, 500, 6));
    assert_eq!(shown("?as_of_version=2").await, expected(2, 450, 10));
    assert_eq!(shown("?as_of_version=99").await, expected(4, 500, 6));
    let history = client.get("/items/TEA/history").await.is(200);
    let taken = history["events"][2]["recorded_at"].as_str().expect("a moment");
    assert_eq!(shown(&format!("?as_at={taken}")).await, expected(3, 450, 6));
    client.get("/items/TEA?as_at=1999-12-31T23:59:59Z").await.problem(404, "not_found");
    client.get("/items/TEA?as_of_version=0").await.problem(404, "not_found");
    let both = "as_of_version=1&as_at=2026-01-01T00:00:00Z";
    for query in ["as_of_version=x", "as_of_version=-1", "as_at=yesterday", "when=1", both] {
        client.get(&format!("/items/TEA?{query}")).await.problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn addresses_of_version_1_are_served_as_version_2() {
    let served = Served::empty().await;
    demo::load(&served.shop).await.expect("it loads");
    let client = &served.client;
    let ada = client.get("/customers/ada").await.is(200);
    let address =
        |street: &str| json!({ "street": street, "city": "Springfield", "country": "USA" });
    assert_eq!(ada["address"], address("742 Evergreen Terrace"));
    assert_eq!(
        client.get("/customers/ada?as_of_version=1").await.is(200)["address"],
        address("12 Elm Street")
    );
    assert_eq!(client.get("/customers/bob").await.is(200)["address"]["country"], "Switzerland");
    let history = client.get("/customers/ada/history").await.is(200);
    let first = &history["events"][0];
    assert_eq!((&first["schema_version"], &first["stored_as"]), (&json!(2), &json!(1)));
    let data = json!({ "customer_id": "ada", "address": address("12 Elm Street") });
    assert_eq!(first["data"], data);

    // A command sees version 2 as well: the same address is nothing, another one is version 2.
    let update = async |street: &str| {
        let asked = json!({ "street": street, "city": "Springfield" });
        client.actor("ada").put("/customers/ada/address", &asked).await.is(200)
    };
    assert_eq!(update("742 Evergreen Terrace").await["receipt"], Value::Null);
    assert_eq!(update("1 New Street").await["version"], 3);
    let history = client.get("/customers/ada/history").await.is(200);
    assert_eq!(history["events"][2]["stored_as"], 2);

    // What is stored stays as it was written.
    let ada = StreamId::from_static("customer-ada");
    let stored = served.shop.annals().store().read_to_end(Read::stream(ada)).await.expect("it");
    assert_eq!(
        &stored[0].data.bytes[..],
        br#"{"user_id":"ada","street":"12 Elm Street","city":"Springfield"}"#
    );
}

#[tokio::test]
async fn the_demo_is_loaded_once() {
    let served = Served::empty().await;
    demo::load(&served.shop).await.expect("it loads");
    let before = served.events().await;
    let wanted = order(&[("TEA", 1, 450)]);
    served.client.actor("ada").post("/orders", &wanted).await.is(201);
    demo::load(&served.shop).await.expect("it loads again");
    assert_eq!(served.client.stock_of("TEA").await, 39);
    assert_eq!(served.events().await, before + 2);
}

/// Many changes later the item is loaded from a snapshot, and is the same.
#[tokio::test]
async fn a_long_history_is_not_folded_each_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::in_file(&directory).await;
    served.client.stock("TEA", 450, 1).await;
    for _ in 0..60 {
        served.client.post("/items/TEA/restock", &json!({ "quantity": 1 })).await.is(200);
    }
    served.stop().await;
    let served = Served::in_file(&directory).await;
    assert_eq!(served.client.stock_of("TEA").await, 61);
    let item = served.shop.annals().check_snapshot::<shop::item::InventoryItem>("TEA").await;
    assert_eq!(item.expect("it can be checked"), Some(true));
    served.stop().await;
}

/// An event that nobody knows is a fault of the program's, told without its contents.
#[tokio::test]
async fn an_unknown_event_is_told_as_a_fault() {
    let served = Served::empty().await;
    let event = NewEvent::new(EventType::from_static("ItemLost"), Data::json(r#"{"secret":1}"#));
    let store = served.shop.annals().store();
    let tea = StreamId::from_static("item-TEA");
    store.append_to(tea, ExpectedVersion::Any, [event]).await.expect("it is appended");
    let answer = served.client.get("/items/TEA").await;
    answer.problem(500, "broken");
    assert!(!answer.text.contains("secret") && !answer.text.contains("ItemLost"), "{answer:?}");
}
