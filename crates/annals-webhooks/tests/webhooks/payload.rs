//! The bytes that are sent: a golden file.

use annals::{
    ContentType, Data, EventId, EventStoreExt, EventType, ExpectedVersion, NewEvent, Read,
    StreamId, Tag,
};

use crate::world::{NOW, Receiver, World};

async fn sent(data: Data) -> String {
    let (world, receiver) = (World::new(), Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    let event = NewEvent::new(EventType::from_static("MoneyDeposited"), data)
        .with_id(EventId::from_bytes([7; 16]))
        .tagged(Tag::from_static("branch:7"))
        .occurred_at(NOW.parse().expect("a moment"));
    let stream = StreamId::from_static("account-1");
    let store = world.annals.store();
    store.append_to(stream.clone(), ExpectedVersion::Any, [event]).await.expect("appended");
    let event = store.read_to_end(Read::stream(stream)).await.expect("read").remove(0);
    world.attempt(&crm.id, &event, 1).await.expect("it arrives");
    String::from_utf8(receiver.got()[0].body.to_vec()).expect("text")
}

#[tokio::test]
async fn the_message_is_as_documented() {
    let json = sent(Data::json(r#"{"amount": 100, "note": "für Ada"}"#)).await;
    let bytes = Data { content_type: ContentType::new("image/png").unwrap(), bytes: "PNG".into() };
    let found = format!("{json}\n{}\n", sent(bytes).await);
    assert_eq!(found, include_str!("golden/messages.jsonl"));
}

#[tokio::test]
async fn data_that_is_no_json_is_sent_as_bytes_whatever_it_says() {
    let sent = sent(Data::json(r#"{"amount": "#)).await;
    let body: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(body["data_base64"], "eyJhbW91bnQiOiA=");
    assert_eq!(body["content_type"], "application/json");
    assert_eq!(body.get("data"), None);
}
