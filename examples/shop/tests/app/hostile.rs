//! Requests that mean no good.

use hyper::Method;
use serde_json::json;

use crate::client::order;
use crate::served::Served;

#[tokio::test]
async fn bodies_that_are_none() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    let before = served.events().await;
    let restock = async |body: String| client.send(Method::POST, "/items/TEA/restock", body).await;
    restock(" ".repeat(64 * 1024 + 1)).await.problem(413, "too_large");
    let deep = "[".repeat(60_000);
    let in_a_field = format!("{{\"quantity\":{deep}");
    for body in ["", "{", "{\"quantity\":1}x", "{\"quantity\":1e400}", "\u{0}"] {
        restock(body.to_owned()).await.problem(400, "malformed");
    }
    for (body, path, code) in [
        ("null", "", "malformed"),
        ("7", "", "malformed"),
        ("[1]", "", "malformed"),
        (&deep, "", "malformed"),
        (&in_a_field, "quantity", "malformed"),
        ("{}", "quantity", "range"),
        ("{\"quantity\":0}", "quantity", "range"),
        ("{\"quantity\":-1}", "quantity", "range"),
        ("{\"quantity\":1000001}", "quantity", "range"),
        ("{\"quantity\":18446744073709551616}", "quantity", "range"),
        ("{\"quantity\":-99999999999999999999999}", "quantity", "range"),
        ("{\"quantity\":1e300}", "quantity", "range"),
        ("{\"quantity\":1.5}", "quantity", "malformed"),
        ("{\"quantity\":\"1\"}", "quantity", "malformed"),
        ("{\"quantity\":null}", "quantity", "malformed"),
        ("{\"quantity\":1,\"admin\":true}", "admin", "malformed"),
        ("{\"quantity\":1,\"quantity\":2}", "", "malformed"),
    ] {
        assert_eq!(restock(body.to_owned()).await.errors(422, "invalid"), [[path, code]], "{body}");
    }
    let form = client.clone().with("content-type", "text/plain");
    form.post("/items/TEA/restock", &json!({ "quantity": 1 })).await.problem(415, "not_json");
    assert_eq!(served.events().await, before);
}

#[tokio::test]
async fn orders_that_cannot_be_counted() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    client.stock("TEA", 450, 10).await;
    let before = served.events().await;
    let send = async |body: &str| client.send(Method::POST, "/orders", body.to_owned()).await;
    // 2^63 times 2 is 0 in 64 bits.
    let wraps = r#"{"user_id":"ada","items":[{"sku":"TEA","quantity":9223372036854775808,"price":2}],"total":0}"#;
    let told = send(wraps).await.errors(422, "invalid");
    assert_eq!(told, [["items[0].quantity", "range"], ["total", "mismatch"]]);
    let negative = r#"{"user_id":"ada","items":[{"sku":"TEA","quantity":1,"price":450},{"sku":"TEA","quantity":-1,"price":450}],"total":0}"#;
    let told = send(negative).await.errors(422, "invalid");
    assert_eq!(told, [["items[1].quantity", "range"], ["total", "mismatch"]]);
    let many = order(&vec![("TEA", 1, 450); 101]);
    let told = client.post("/orders", &many).await.errors(422, "invalid");
    assert_eq!(told, [["items", "length"]]);
    let unknown = r#"{"user_id":"ada","items":[{"sku":"TEA","discount":1}],"total":0}"#;
    assert_eq!(send(unknown).await.errors(422, "invalid"), [["items[0].discount", "malformed"]]);
    assert_eq!(served.events().await, before);
}

#[tokio::test]
async fn names_of_nothing() {
    let served = Served::empty().await;
    let client = served.client.actor("ada");
    let long = "x".repeat(600);
    for name in ["%00", "%0A", "%20", "%FF", "a%2Fb", "..%2F..", "%F0%9F%8D%B5", "nothing", &long] {
        for path in ["items", "orders", "customers", "invoices"] {
            client.get(&format!("/{path}/{name}")).await.problem(404, "not_found");
            client.get(&format!("/{path}/{name}/history")).await.problem(404, "not_found");
        }
        client.post(&format!("/orders/{name}/invoice"), &json!({})).await.problem(404, "not_found");
        let restock = json!({ "quantity": 1 });
        client.post(&format!("/items/{name}/restock"), &restock).await.problem(404, "not_found");
        if name != "nothing" {
            let refused = client.put(&format!("/items/{name}"), &json!({ "price": 1 })).await;
            assert!([404, 422].contains(&refused.status.as_u16()), "{name}: {refused:?}");
        }
    }
    client.get("/").await.problem(404, "not_found");
    client.send(Method::DELETE, "/items/TEA", "").await.problem(405, "method_not_allowed");
    assert_eq!(served.events().await, 0);
}

#[tokio::test]
async fn headers_that_are_none() {
    let served = Served::empty().await;
    let long = "k".repeat(129);
    for key in ["", "a b", &long] {
        served.client.key(key).get("/items/TEA").await.problem(400, "invalid_key");
    }
    for actor in ["", "a/b", "ada bob", &long] {
        served.client.actor(actor).get("/items/TEA").await.problem(400, "invalid_actor");
    }
    for (host, status) in [
        ("localhost", 404),
        ("[::1]:80", 404),
        ("example.org", 403),
        ("127.0.0.1.example.org", 403),
    ] {
        let client = served.client.clone().with("host", host);
        assert_eq!(client.get("/items/TEA").await.status.as_u16(), status, "{host}");
    }
    let traced = served.client.clone().with("x-request-id", "r-17").get("/items/TEA").await;
    assert_eq!(traced.headers["x-request-id"], "r-17");
}
