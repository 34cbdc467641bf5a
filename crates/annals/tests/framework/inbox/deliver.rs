//! What is delivered to whom, and in which order.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::inbox::Retries;
use annals::{
    Annals, Context, DeliveryInfo, DeliveryState, Event, Inbox, Metadata, Part, ReactError,
    Reacting, Reactor, SelectDeliveries, Upcasters, types,
};
use async_trait::async_trait;
use serde_json::json;

use crate::inbox::world::{PATIENCE, Witness, World, idle, of, quick, until};

on_every_read_side!(
    an_event_is_delivered_once_to_each_inbox_that_accepts_it,
    an_inbox_that_fails_panics_or_hangs_disturbs_no_other,
    deliveries_of_one_stream_are_made_in_order_and_of_several_at_the_same_time,
    without_order_nothing_waits_for_anything,
    lanes_are_what_the_inbox_says,
    each_recipient_has_a_delivery_of_its_own,
    a_new_inbox_begins_where_it_says_and_a_known_one_where_it_was,
    an_inbox_that_comes_late_catches_up_and_goes_on_with_the_others,
    events_are_delivered_in_their_newest_shapes,
    an_event_that_cannot_be_read_is_a_dead_letter_of_those_who_wanted_it,
    closures_that_panic_take_nothing_with_them,
    what_a_reactor_records_belongs_to_the_conversation_of_the_event,
);

async fn an_event_is_delivered_once_to_each_inbox_that_accepts_it(world: World) {
    let [all, some, few] = [Witness::new(), Witness::new(), Witness::new()];
    world.append("issue-1", &["Opened", "Assigned"]).await;
    let inboxes = world
        .start([
            Inbox::new("all", all.clone()),
            Inbox::new("some", some.clone()).accepts(of(&["Assigned", "Closed"])),
            Inbox::new("few", few.clone())
                .accepts(of(&["Assigned"]))
                .accepts_if(|event| event.stream.id() == "2"),
        ])
        .await;
    idle(&inboxes).await;
    world.append("issue-2", &["Opened", "Assigned", "Closed"]).await;
    idle(&inboxes).await;
    let everything = [
        "issue-1@1 Opened",
        "issue-1@2 Assigned",
        "issue-2@1 Opened",
        "issue-2@2 Assigned",
        "issue-2@3 Closed",
    ];
    assert_eq!(all.sorted(), everything);
    assert_eq!(some.sorted(), ["issue-1@2 Assigned", "issue-2@2 Assigned", "issue-2@3 Closed"]);
    assert_eq!(few.sorted(), ["issue-2@2 Assigned"]);
    assert!(all.seen().iter().all(|seen| seen.attempt == 1 && seen.id.starts_with("all/")));
    inboxes.stop().await;
}

async fn an_inbox_that_fails_panics_or_hangs_disturbs_no_other(world: World) {
    let good = Witness::new();
    let hanging = Witness::new().taking(Duration::from_secs(3600));
    let inboxes = world
        .start([
            Inbox::new("failing", Witness::failing(u32::MAX)),
            Inbox::new("panicking", Witness::that(|_| panic!("no such customer"))),
            Inbox::new("hanging", hanging.clone()),
            Inbox::new("good", good.clone()),
        ])
        .await;
    for _ in 0..20 {
        world.append("issue-1", &["Opened"]).await;
        world.append("issue-2", &["Opened"]).await;
    }
    until("all are delivered to the good one", || good.count() == 40).await;
    until("one of each stream hangs", || hanging.count() == 2).await;
    let panicking = SelectDeliveries::inbox("panicking".parse().unwrap());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let deliveries = inboxes.deliveries(panicking.clone(), 1).await.unwrap();
        if let Some(error) = &deliveries[0].last_error {
            assert!(error.contains("no such customer"), "{error}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never failed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(good.count(), 40);
}

async fn deliveries_of_one_stream_are_made_in_order_and_of_several_at_the_same_time(world: World) {
    let slow = Witness::new().taking(Duration::from_millis(2));
    for _ in 0..10 {
        for stream in ["issue-1", "issue-2", "issue-3"] {
            world.append(stream, &["Opened"]).await;
        }
    }
    let gauge = Gauge::around(slow.clone());
    let inboxes = world.start([Inbox::new("slow", gauge.clone()).concurrency(3)]).await;
    idle(&inboxes).await;
    assert_eq!(slow.count(), 30);
    for stream in ["issue-1", "issue-2", "issue-3"] {
        let seen = slow.events();
        let seen: Vec<_> = seen.iter().filter(|event| event.starts_with(stream)).collect();
        let expected: Vec<_> = (1..=10).map(|n| format!("{stream}@{n} Opened")).collect();
        assert_eq!(seen, expected.iter().collect::<Vec<_>>());
    }
    let (together, of_a_stream) = gauge.most();
    assert!((2..=3).contains(&together), "{together} at the same time");
    assert_eq!(of_a_stream, 1);
}

async fn without_order_nothing_waits_for_anything(world: World) {
    world.append("issue-1", &["Opened"; 8]).await;
    let gauge = Gauge::around(Witness::new().taking(Duration::from_millis(20)));
    let inbox = Inbox::new("any", gauge.clone()).unordered().concurrency(4);
    let inboxes = world.start([inbox]).await;
    idle(&inboxes).await;
    assert_eq!(gauge.most(), (4, 4));
}

async fn lanes_are_what_the_inbox_says(world: World) {
    world.append("issue-1", &["Opened", "Closed", "Opened", "Closed"]).await;
    world.append("issue-2", &["Opened", "Closed"]).await;
    let witness = Witness::that(|reacting| match reacting.event().event_type.as_str() {
        "Opened" => Err(ReactError::permanent("no")),
        _ => Ok(()),
    });
    let by_type =
        Inbox::new("by-type", witness.clone()).lanes(|event| Some(event.event_type.to_string()));
    let inboxes = world.start([by_type]).await;
    idle(&inboxes).await;
    // The first dead letter holds up what else was opened, in whatever stream.
    let seen = ["issue-1@1 Opened", "issue-1@2 Closed", "issue-1@4 Closed", "issue-2@2 Closed"];
    assert_eq!(witness.sorted(), seen);
}

async fn each_recipient_has_a_delivery_of_its_own(world: World) {
    let witness = Witness::that(|reacting| match reacting.recipient() {
        Some("bob") => Err(ReactError::permanent("bob is away")),
        _ => Ok(()),
    });
    let to = |event: &annals::RecordedEvent| match event.event_type.as_str() {
        "Assigned" => vec!["bob".to_owned(), "ada".to_owned(), "ada".to_owned()],
        _ => Vec::new(),
    };
    let inboxes = world.start([Inbox::new("email", witness.clone()).recipients(to)]).await;
    world.append("issue-1", &["Opened", "Assigned", "Assigned"]).await;
    idle(&inboxes).await;
    let seen: Vec<_> = witness.seen();
    let of = |name: &str| {
        let of = seen.iter().filter(|seen| seen.recipient.as_deref() == Some(name));
        of.map(|seen| seen.event.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("ada"), ["issue-1@2 Assigned", "issue-1@3 Assigned"]);
    // The second waits behind the first, and only for this one.
    assert_eq!(of("bob"), ["issue-1@2 Assigned"]);
    assert!(seen.iter().all(|seen| seen.id.ends_with(seen.recipient.as_deref().unwrap())));
}

async fn a_new_inbox_begins_where_it_says_and_a_known_one_where_it_was(world: World) {
    world.append("issue-1", &["Opened"]).await;
    let [old, new] = [Witness::new(), Witness::new()];
    let define = || {
        [Inbox::new("old", old.clone()).from_beginning(), Inbox::new("new", new.clone()).from_now()]
    };
    let inboxes = world.start(define()).await;
    world.append("issue-1", &["Assigned"]).await;
    idle(&inboxes).await;
    inboxes.stop().await;
    world.append("issue-1", &["Closed"]).await;
    let inboxes = world.start(define()).await;
    idle(&inboxes).await;
    let after = ["issue-1@2 Assigned", "issue-1@3 Closed"];
    assert_eq!(new.events(), after);
    assert_eq!(old.events(), ["issue-1@1 Opened", after[0], after[1]]);
}

async fn an_inbox_that_comes_late_catches_up_and_goes_on_with_the_others(world: World) {
    let [early, late] = [Witness::new(), Witness::new()];
    let inboxes = world.start([Inbox::new("early", early.clone())]).await;
    for _ in 0..300 {
        world.append("issue-1", &["Opened", "Closed"]).await;
    }
    idle(&inboxes).await;
    inboxes.stop().await;
    let define = [
        Inbox::new("early", early.clone()),
        Inbox::new("late", late.clone()).accepts(of(&["Closed"])).unordered(),
    ];
    let inboxes = world.start(define).await;
    for _ in 0..50 {
        world.append("issue-2", &["Opened", "Closed"]).await;
    }
    idle(&inboxes).await;
    assert_eq!(early.count(), 700);
    assert_eq!(late.count(), 350);
    let ids: HashSet<_> = late.seen().into_iter().map(|seen| seen.id).collect();
    assert_eq!(ids.len(), 350);
}

#[derive(Debug, Event)]
enum MoneyEvent {
    MoneyDeposited {},
    MoneyWithdrawn {},
}

fn upcasters() -> Upcasters {
    Upcasters::new()
        .rename("Deposited", "MoneyDeposited")
        .split("Transferred", 1, &["MoneyWithdrawn", "MoneyDeposited"], |_| {
            ["MoneyWithdrawn", "MoneyDeposited"].map(|name| Part::new(name, 1, json!({}))).into()
        })
        .drop_type("Trace")
}

async fn events_are_delivered_in_their_newest_shapes(world: World) {
    let stored = ["Deposited", "Trace", "Transferred", "MoneyWithdrawn", "MoneyDeposited"];
    world.append("account-1", &stored).await;
    let [deposits, all] = [Witness::new(), Witness::new()];
    let commands = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&commands);
    let typed = Inbox::on("typed", types!(MoneyEvent), move |event: MoneyEvent, by: Reacting| {
        let noted = Arc::clone(&noted);
        async move {
            noted.lock().unwrap().push((format!("{event:?}"), by.command_id("book")));
            Ok(())
        }
    });
    let runner = world.annals().with_upcasters(&upcasters()).inboxes(Arc::clone(&world.queue));
    let inboxes = quick(runner)
        .inbox(
            Inbox::new("deposits", deposits.clone()).accepts(types!(MoneyEvent::{MoneyDeposited})),
        )
        .inbox(Inbox::new("all", all.clone()))
        .inbox(typed)
        .start()
        .await
        .unwrap();
    idle(&inboxes).await;
    let deposited =
        ["account-1@1 MoneyDeposited", "account-1@3 MoneyDeposited", "account-1@5 MoneyDeposited"];
    assert_eq!(deposits.events(), deposited);
    let everything = [
        "account-1@1 MoneyDeposited",
        "account-1@3 MoneyWithdrawn",
        "account-1@3 MoneyDeposited",
        "account-1@4 MoneyWithdrawn",
        "account-1@5 MoneyDeposited",
    ];
    assert_eq!(all.events(), everything);
    // The two halves of a transfer are one delivery, and their commands are different ones.
    let ids: HashSet<_> = all.seen().into_iter().map(|seen| seen.id).collect();
    assert_eq!(ids.len(), 4);
    let commands = commands.lock().unwrap().clone();
    assert_eq!(commands[1].0, "MoneyWithdrawn");
    let ids: HashSet<_> = commands.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 5);
}

async fn an_event_that_cannot_be_read_is_a_dead_letter_of_those_who_wanted_it(world: World) {
    world.append("account-1", &["MoneyWithdrawn"]).await;
    world.append("account-2", &["MoneyDeposited"]).await;
    let [wanted, other] = [Witness::new(), Witness::new()];
    world.append("account-3", &["MoneySent"]).await;
    let broken = Upcasters::new().upcast_typed("MoneyWithdrawn", 1, |(): ()| ()).upcast(
        "MoneySent",
        1,
        |data| assert!(data.contains_key("to"), "to whom?"),
    );
    let runner = world.annals().with_upcasters(&broken).inboxes(Arc::clone(&world.queue));
    let inboxes = quick(runner)
        .inbox(Inbox::new("wanted", wanted.clone()).accepts(of(&["MoneyWithdrawn", "MoneySent"])))
        .inbox(Inbox::new("other", other.clone()).accepts(of(&["MoneyDeposited"])))
        .start()
        .await
        .unwrap();
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 10).await.unwrap();
    assert_eq!(dead.len(), 2);
    for why in ["MoneyWithdrawn", "it panicked: to whom?"] {
        let is_told = |dead: &DeliveryInfo| dead.last_error.as_ref().unwrap().contains(why);
        let of = dead.iter().find(|dead| is_told(dead)).map(|dead| dead.inbox.as_str());
        assert_eq!(of, Some("wanted"), "{why}: {dead:?}");
    }
    assert_eq!((wanted.count(), other.events().len()), (0, 1));
}

async fn closures_that_panic_take_nothing_with_them(world: World) {
    let [good, bad, to] = [Witness::new(), Witness::new(), Witness::new()];
    let mended = Arc::new(Mutex::new(false));
    let is_mended = Arc::clone(&mended);
    let once = Retries::default().attempts_max(1);
    let inboxes = world
        .start([
            Inbox::new("good", good.clone()),
            Inbox::new("bad", bad.clone())
                .accepts_if(|_| panic!("who wrote this?"))
                .retry(once.clone()),
            Inbox::new("to", to.clone())
                .recipients(move |_| {
                    assert!(*is_mended.lock().unwrap(), "nobody knows to whom");
                    vec!["ada".to_owned()]
                })
                .retry(once),
        ])
        .await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert_eq!((good.count(), bad.count(), to.count()), (1, 0, 0));
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 10).await.unwrap();
    let errors: HashMap<_, _> =
        dead.into_iter().map(|dead| (dead.inbox.to_string(), dead.last_error.unwrap())).collect();
    assert!(errors["bad"].contains("who wrote this?"), "{errors:?}");
    assert!(errors["to"].contains("nobody knows to whom"), "{errors:?}");
    // Once that is mended, it is found out to whom it goes.
    *mended.lock().unwrap() = true;
    let dead = SelectDeliveries::all().state(DeliveryState::Dead);
    assert_eq!(inboxes.retry(dead).await.unwrap(), 2);
    idle(&inboxes).await;
    assert_eq!(to.seen()[0].recipient.as_deref(), Some("ada"));
}

async fn what_a_reactor_records_belongs_to_the_conversation_of_the_event(world: World) {
    let noted = Arc::new(Mutex::new(None));
    struct Note(Arc<Mutex<Option<(String, Metadata)>>>);
    #[async_trait]
    impl Reactor for Note {
        async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
            let id = reacting.event().id.to_string();
            *self.0.lock().unwrap() = Some((id, Context::current().metadata()));
            Ok(())
        }
    }
    let app: Annals = world.annals();
    let inboxes = world.start([Inbox::new("note", Note(Arc::clone(&noted)))]).await;
    let context = Context::new().correlation("c-1");
    let event = crate::inbox::world::event("Opened").with_metadata(context.metadata());
    let append = annals::Append::to(
        annals::StreamId::from_static("issue-1"),
        annals::ExpectedVersion::Any,
        [event],
    );
    app.store().append(append).await.unwrap();
    idle(&inboxes).await;
    let (id, metadata) = noted.lock().unwrap().clone().unwrap();
    assert_eq!(metadata.get(Metadata::CAUSATION), Some(json!(id)));
    assert_eq!(metadata.get(Metadata::CORRELATION), Some(json!("c-1")));
}

/// Counts how many attempts run at the same time, in all and in one stream.
#[derive(Clone)]
struct Gauge {
    inner: Witness,
    now: Arc<Mutex<HashMap<String, usize>>>,
    most: Arc<Mutex<(usize, usize)>>,
}

impl Gauge {
    fn around(inner: Witness) -> Self {
        Self { inner, now: Arc::default(), most: Arc::default() }
    }

    fn most(&self) -> (usize, usize) {
        *self.most.lock().unwrap()
    }
}

#[async_trait]
impl Reactor for Gauge {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let stream = reacting.event().stream.to_string();
        {
            let mut now = self.now.lock().unwrap();
            *now.entry(stream.clone()).or_default() += 1;
            let mut most = self.most.lock().unwrap();
            *most = (most.0.max(now.values().sum()), most.1.max(now[&stream]));
        }
        let result = self.inner.react(reacting).await;
        *self.now.lock().unwrap().get_mut(&stream).unwrap() -= 1;
        result
    }
}
