//! The dispatcher, and typed handlers.

use std::sync::{Arc, Mutex};

use annals::{
    Annals, Apply, Aggregate, Command, Dispatcher, Event, EventTypes, Inbox, Query, ReactError, Reacting,
    types,
};

use crate::inbox::world::{Witness, World, idle, quick};

on_every_read_side!(
    each_handler_gets_the_events_of_its_types_as_the_domain_knows_them,
    a_command_because_of_an_event_is_executed_once_however_often_it_is_delivered,
);

#[derive(Clone, Debug, PartialEq, Event)]
enum IssueEvent {
    #[event(name = "issue-opened")]
    IssueOpened { title: String },
    IssueAssigned { to: String },
    IssueClosed,
}
use IssueEvent::*;

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "issue", event = IssueEvent)]
struct Issue {
    events: u32,
}

impl Apply<IssueEvent> for Issue {
    fn apply(&mut self, _: IssueEvent) {
        self.events += 1;
    }
}

#[derive(Clone)]
struct Say(Vec<IssueEvent>);

impl Command<Issue> for Say {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Issue) -> Result<Vec<IssueEvent>, Self::Error> {
        Ok(self.0)
    }
}

async fn said(app: &Annals, id: &str) {
    let events =
        vec![IssueOpened { title: "It rains in".into() }, IssueAssigned { to: "ada".into() }, IssueClosed];
    app.execute(id, Say(events)).await.unwrap();
}

async fn each_handler_gets_the_events_of_its_types_as_the_domain_knows_them(world: World) {
    let app = world.annals();
    let log: Arc<Mutex<Vec<(&'static str, IssueEvent)>>> = Arc::default();
    let note = |name: &'static str| {
        let log = Arc::clone(&log);
        move |event: IssueEvent, _: Reacting| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push((name, event));
                Ok(())
            }
        }
    };
    let witness = Witness::new();
    let dispatcher = Dispatcher::new()
        .on("email", types!(IssueEvent::{IssueOpened, IssueAssigned}), note("email"))
        .on("failing", types!(IssueEvent), |_: IssueEvent, _| async move {
            Err(ReactError::permanent("no"))
        })
        .inbox(Inbox::new("all", witness.clone()).accepts(types!(IssueEvent)));
    let runner = app.inboxes(Arc::clone(&world.queue)).dispatcher(dispatcher);
    let inboxes = quick(runner).start().await.unwrap();
    said(&app, "1").await;
    world.append("other-1", &["SomethingElse"]).await;
    idle(&inboxes).await;
    let log = log.lock().unwrap().clone();
    let expected = [
        ("email", IssueOpened { title: "It rains in".into() }),
        ("email", IssueAssigned { to: "ada".into() }),
    ];
    assert_eq!(log, expected);
    assert_eq!(witness.count(), 3);
}

async fn a_command_because_of_an_event_is_executed_once_however_often_it_is_delivered(world: World) {
    let app = world.annals();
    let handle = app.clone();
    let closing = types!(IssueEvent::{IssueAssigned});
    let inbox = Inbox::on("closer", closing, move |_: IssueEvent, by: Reacting| {
        let app = handle.clone();
        async move {
            let issue = by.event().stream.id().to_owned();
            app.execute(issue, Say(vec![IssueClosed])).id(by.command_id("close")).await?;
            match by.attempt() {
                1 => Err(ReactError::transient("it died before it could say so")),
                _ => Ok(()),
            }
        }
    });
    let inboxes = world.start([inbox]).await;
    app.execute("1", Say(vec![IssueAssigned { to: "ada".into() }])).await.unwrap();
    idle(&inboxes).await;
    world.pass(std::time::Duration::from_secs(60));
    idle(&inboxes).await;
    let history = inboxes.deliveries(annals::SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!(history[0].attempts, 2, "{history:?}");
    assert_eq!(app.load::<Issue>("1").await.unwrap().state.events, 2);
}

#[test]
fn types_are_named_by_their_variants_and_found_by_their_stored_names() {
    let names = |types: EventTypes| {
        types.into_iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(types!(IssueEvent::{IssueOpened, IssueClosed})), ["issue-opened", "IssueClosed"]);
    assert_eq!(names(types!(IssueEvent)), ["issue-opened", "IssueAssigned", "IssueClosed"]);
    assert_eq!(names(types!(crate::account::AccountEvent::{AccountOpened})), ["AccountOpened"]);
    let several = types!(IssueEvent::{IssueOpened}, crate::account::AccountEvent::{AccountOpened});
    assert_eq!(names(several), ["issue-opened", "AccountOpened"]);
    let none = types!(IssueEvent::{IssueOpened}).and(types!(IssueEvent::{IssueOpened}));
    assert_eq!(Query::from(none).items()[0].types.len(), 1);
}
