//! What is asked, what is answered, and what the log holds then.

use annals::{ManualClock, Timestamp};
use serde_json::{Value, json};
use shop::shop::Shop;

use crate::client::order;
use crate::served::Served;

#[tokio::test]
async fn an_order_takes_its_items_in_one_append() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    client.stock("CUP", 1_200, 3).await;
    let before = served.events().await;
    let answer = client.post("/orders", &order(&[("TEA", 2, 450), ("CUP", 3, 1_200)])).await;
    let placed = answer.is(201);
    assert_eq!((&placed["total"], &placed["repeated"]), (&json!(4_500), &json!(false)));
    assert_eq!((client.stock_of("TEA").await, client.stock_of("CUP").await), (8, 0));
    assert_eq!(served.events().await, before + 3);

    let location = answer.headers["location"].to_str().expect("text");
    let shown = client.get(location).await.is(200);
    assert_eq!(shown["id"], placed["id"]);
    assert_eq!(shown["items"][1], json!({ "sku": "CUP", "quantity": 3, "price": 1_200 }));
    // All of it is one conversation, and says who began it.
    let of_order = client.get(&format!("{location}/history")).await.is(200);
    let of_cup = client.get("/items/CUP/history").await.is(200);
    let (created, taken) = (&of_order["events"][0], &of_cup["events"][2]);
    assert_eq!((&created["type"], &taken["type"]), (&json!("OrderCreated"), &json!("ItemTaken")));
    assert_eq!(created["recorded_at"], taken["recorded_at"]);
    assert_eq!(created["metadata"], taken["metadata"]);
    assert_eq!(created["metadata"]["actor"], "ada");
    assert_eq!(created["metadata"]["address"], "127.0.0.1");
    served.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_an_order_is_told_at_once() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    let before = served.events().await;
    let wrong = json!({
        "items": [{ "sku": "TEA", "quantity": 1, "price": 450 }, { "quantity": -1, "price": 1e30 }],
        "total": 7,
    });
    let told = client.post("/orders", &wrong).await.errors(422, "invalid");
    assert_eq!(
        told,
        [
            ["items[1].price", "range"],
            ["items[1].quantity", "range"],
            ["items[1].sku", "name"],
            ["total", "mismatch"],
            ["user_id", "name"],
        ]
    );
    let empty = client.post("/orders", &json!({})).await.errors(422, "invalid");
    assert_eq!(empty, [["items", "length"], ["user_id", "name"]]);
    let mut mismatch = order(&[("TEA", 2, 450)]);
    mismatch["total"] = json!(901);
    let told = client.post("/orders", &mismatch).await.errors(422, "invalid");
    assert_eq!(told, [["total", "mismatch"]]);
    assert_eq!(served.events().await, before);
}

#[tokio::test]
async fn too_little_of_one_item_refuses_the_whole_order() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    client.stock("POT", 3_500, 2).await;
    let before = served.events().await;
    for (item, error) in [
        (("POT", 3, 3_500), ["items[1].quantity", "not_enough_stock"]),
        (("POT", 1, 1), ["items[1].price", "price_changed"]),
        (("NIL", 1, 5), ["items[1].sku", "not_found"]),
        // Each item sees what those before it have taken.
        (("TEA", 6, 450), ["items[1].quantity", "not_enough_stock"]),
    ] {
        let refused = client.post("/orders", &order(&[("TEA", 5, 450), item])).await;
        assert_eq!(refused.errors(409, "refused"), [error]);
    }
    assert_eq!(client.stock_of("TEA").await, 10);
    assert_eq!(served.events().await, before);
}

#[tokio::test]
async fn users_order_for_themselves_only() {
    let served = Served::empty().await;
    served.client.stock("TEA", 450, 10).await;
    let order = order(&[("TEA", 1, 450)]);
    for client in [served.client.clone(), served.client.actor("bob")] {
        client.post("/orders", &order).await.problem(403, "denied");
    }
    served.client.actor("b b").post("/orders", &order).await.problem(400, "invalid_actor");
    assert_eq!(served.client.stock_of("TEA").await, 10);
    served.client.actor("ada").post("/orders", &order).await.is(201);
}

#[tokio::test]
async fn the_same_request_again_has_the_first_answer_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::in_file(&directory).await;
    served.client.stock("TEA", 450, 10).await;
    let wanted = order(&[("TEA", 2, 450)]);
    let first = served.client.actor("ada").key("k-1").post("/orders", &wanted).await.is(201);
    served.stop().await;

    let served = Served::in_file(&directory).await;
    let client = served.client.actor("ada").key("k-1");
    let again = client.post("/orders", &wanted).await.is(201);
    assert_eq!(again["repeated"], true);
    for what in ["id", "version", "items", "total", "receipt"] {
        assert_eq!(again[what], first[what]);
    }
    assert_eq!(client.stock_of("TEA").await, 8);

    // A key belongs to one request of one actor.
    client.post("/orders", &order(&[("TEA", 3, 450)])).await.problem(409, "key_used");
    client.post("/orders", &order(&[("CUP", 1, 1)])).await.problem(409, "key_used");
    let restock = json!({ "quantity": 1 });
    client.post("/items/TEA/restock", &restock).await.problem(409, "key_used");
    let mut of_bob = wanted.clone();
    of_bob["user_id"] = json!("bob");
    let bobs = client.actor("bob").post("/orders", &of_bob).await.is(201);
    assert_eq!(bobs["repeated"], false);
    assert_eq!(client.stock_of("TEA").await, 6);
    // Without a key every request is another order.
    served.client.actor("ada").post("/orders", &wanted).await.is(201);
    assert_eq!(client.stock_of("TEA").await, 4);
    served.stop().await;
}

#[tokio::test]
async fn a_refused_order_may_be_placed_later_under_its_key() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 1).await;
    let keyed = client.key("k-1");
    let wanted = order(&[("TEA", 2, 450)]);
    keyed.post("/orders", &wanted).await.problem(409, "refused");
    client.post("/items/TEA/restock", &json!({ "quantity": 1 })).await.is(200);
    assert_eq!(keyed.post("/orders", &wanted).await.is(201)["repeated"], false);
}

#[tokio::test]
async fn restocking_twice_under_a_key_restocks_once() {
    let served = Served::empty().await;
    served.client.stock("TEA", 450, 1).await;
    let client = served.client.key("delivery-7");
    let five = json!({ "quantity": 5 });
    let restock = || client.post("/items/TEA/restock", &five);
    let (first, again) = (restock().await.is(200), restock().await.is(200));
    assert_eq!((&first["stock"], &first["repeated"]), (&json!(6), &json!(false)));
    assert_eq!((&again["receipt"], &again["repeated"]), (&first["receipt"], &json!(true)));
    assert_eq!(client.stock_of("TEA").await, 6);
}

#[tokio::test]
async fn what_changes_nothing_records_nothing() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    let address = json!({ "street": "12 Elm Street", "city": "Springfield" });
    let update = || client.put("/customers/ada/address", &address);
    let first = update().await.is(200);
    assert_eq!(first["address"]["country"], "USA");
    let before = served.events().await;
    let again = update().await.is(200);
    assert_eq!((&again["receipt"], &again["version"]), (&Value::Null, &json!(1)));
    client.put("/items/TEA", &json!({ "price": 450 })).await.is(200);
    let same = client.put("/items/TEA", &json!({ "price": 450 })).await.is(200);
    assert_eq!(same["receipt"], Value::Null);
    assert_eq!(served.events().await, before + 1);
    client.actor("bob").put("/customers/ada/address", &address).await.problem(403, "denied");
}

#[tokio::test]
async fn an_invoice_is_issued_once_then_paid_and_credited() {
    let clock = ManualClock::at("2025-12-31T23:59:59Z".parse::<Timestamp>().expect("a moment"));
    let clock = std::sync::Arc::new(clock);
    let served = Served::start(Shop::in_memory().with_clock(clock.clone())).await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 100).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        let placed = client.post("/orders", &order(&[("TEA", 2, 450)])).await.is(201);
        orders.push(placed["id"].as_str().expect("an id").to_owned());
    }
    let issue =
        async |order: &str| client.post(&format!("/orders/{order}/invoice"), &json!({})).await;
    let first = issue(&orders[0]).await;
    assert_eq!(first.headers["location"], "/invoices/2025-1");
    assert_eq!(first.is(201)["id"], "2025-1");
    assert_eq!(issue(&orders[1]).await.is(201)["id"], "2025-2");
    let again = issue(&orders[0]).await.is(200);
    assert_eq!((&again["id"], &again["receipt"]), (&json!("2025-1"), &Value::Null));
    // Each year begins with 1, and an order keeps the invoice of last year.
    clock.set("2026-01-01T00:00:00Z".parse().expect("a moment"));
    assert_eq!(issue(&orders[2]).await.is(201)["id"], "2026-1");
    assert_eq!(issue(&orders[1]).await.is(200)["id"], "2025-2");
    issue("nothing").await.problem(404, "not_found");

    let pay = async |amount: u64| {
        client.post("/invoices/2025-1/payments", &json!({ "amount": amount })).await
    };
    pay(500).await.is(200);
    pay(401).await.problem(409, "more_than_due");
    let credit = json!({ "amount": 400, "reason": "one was chipped" });
    let credited = client.post("/invoices/2025-1/credits", &credit).await.is(200);
    assert_eq!((&credited["paid"], &credited["credited"]), (&json!(500), &json!(400)));
    pay(1).await.problem(409, "more_than_due");
    let history = client.get("/invoices/2025-1/history").await.is(200);
    assert_eq!(history["events"][2]["data"]["reason"], "one was chipped");
    client
        .post("/invoices/2025-9/payments", &json!({ "amount": 1 }))
        .await
        .problem(404, "not_found");
}
