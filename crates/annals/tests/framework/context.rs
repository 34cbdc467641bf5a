//! Who, why and in which conversation: what stands beside events without anybody writing it.

use annals::{Annals, Context, EventStoreExt, MemoryStore, Metadata, Read, RecordedEvent};
use serde_json::{Value, json};

use crate::account::{deposit, open};

async fn log(store: &MemoryStore) -> Vec<RecordedEvent> {
    store.read_to_end(Read::all()).await.unwrap()
}

fn said(event: &RecordedEvent, key: &str) -> Value {
    event.metadata.get(key).unwrap_or_default()
}

#[tokio::test]
async fn everything_in_a_scope_carries_it() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    let request = Context::new().actor("ada").request_id("r-7").address("192.0.2.1");
    request
        .user_agent("curl")
        .with("tenant", "acme")
        .scope(async {
            bank.execute("1", open("Ada")).await.unwrap();
            bank.batch().execute("1", deposit(1)).execute("2", open("Bob")).await.unwrap();
        })
        .await;
    bank.execute("3", open("Eve")).await.unwrap();

    let log = log(&store).await;
    let inside = &log[..3];
    for event in inside {
        assert_eq!(said(event, "actor"), "ada");
        assert_eq!(said(event, "request_id"), "r-7");
        assert_eq!(said(event, "address"), "192.0.2.1");
        assert_eq!(said(event, "user_agent"), "curl");
        assert_eq!(said(event, "tenant"), "acme");
        assert_eq!(said(event, "correlation"), said(&inside[0], "correlation"));
    }
    assert!(said(&inside[0], "correlation").is_string());
    assert!(log[3].metadata.is_empty(), "{:?}", log[3].metadata);
}

#[tokio::test]
async fn what_is_said_inside_goes_before_what_is_said_outside() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    let by_ada = Context::new().actor("ada").reason("opening day").correlation("c-1");
    by_ada
        .scope(async {
            let by_bob = Context::new().actor("bob");
            bank.execute("1", open("Ada")).context(by_bob).await.unwrap();
        })
        .await;
    let event = &log(&store).await[0];
    assert_eq!(said(event, "actor"), "bob");
    assert_eq!(said(event, "reason"), "opening day");
    assert_eq!(said(event, "correlation"), "c-1");
}

#[tokio::test]
async fn a_command_with_an_id_is_the_cause_unless_an_event_is() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    bank.execute("1", open("Ada")).id("r-1").await.unwrap();
    let first = log(&store).await.remove(0);
    assert_eq!(said(&first, "causation"), "r-1");

    let because = Context::because_of(&first);
    bank.execute("1", deposit(1)).id("r-2").context(because).await.unwrap();
    let second = log(&store).await.remove(1);
    assert_eq!(said(&second, "causation"), json!(first.id));
    assert_eq!(said(&second, "correlation"), json!(first.id));
    // The conversation goes on in whatever comes of that.
    let third = Context::because_of(&second).metadata();
    assert_eq!(third.get(Metadata::CORRELATION), Some(json!(first.id)));
    assert_eq!(third.get(Metadata::CAUSATION), Some(json!(second.id)));
}

#[tokio::test]
async fn a_batch_of_work_is_told_by_one_description() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    let import = Context::new().batch("import of May");
    import
        .scope(async {
            bank.execute("1", open("Ada")).await.unwrap();
            bank.execute("2", open("Bob")).await.unwrap();
        })
        .await;
    let log = log(&store).await;
    assert_eq!(said(&log[0], "batch")["description"], "import of May");
    assert_eq!(said(&log[0], "batch"), said(&log[1], "batch"));
}

#[tokio::test]
async fn ids_come_through_their_seam() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone()).with_ids(annals::SequentialIds::default());
    bank.batch().execute("1", open("Ada")).execute("1", deposit(1)).await.unwrap();
    let ids: Vec<_> = log(&store).await.iter().map(|event| event.id.to_string()).collect();
    assert_eq!(
        ids,
        ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]
    );
}

/// The spans of a scope have the same ids as the events.
#[tokio::test]
async fn spans_carry_the_same_ids() {
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::{Metadata as SpanMetadata, Subscriber, span};

    #[derive(Clone, Default)]
    struct Collect(Arc<Mutex<Vec<String>>>);

    struct Fields<'a>(&'a mut Vec<String>);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push(format!("{}={value:?}", field.name()));
        }
    }

    impl Subscriber for Collect {
        fn enabled(&self, _: &SpanMetadata<'_>) -> bool {
            true
        }
        fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
            let mut seen = self.0.lock().unwrap();
            span.record(&mut Fields(&mut seen));
            span::Id::from_u64(seen.len() as u64 + 1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    let seen = Collect::default();
    let _guard = tracing::subscriber::set_default(seen.clone());
    let bank = Annals::new(MemoryStore::new());
    let context = Context::new().actor("ada").correlation("c-1").causation("e-1");
    bank.execute("1", open("Ada")).context(context).await.unwrap();
    let seen = seen.0.lock().unwrap().join(" ");
    for field in
        ["actor=\"ada\"", "correlation=\"c-1\"", "causation=\"e-1\"", "stream=\"account-1\""]
    {
        assert!(seen.contains(field), "{field} is not in {seen}");
    }
}
