//! Commands that are executed later.

use std::time::Duration;

use annals::process::{Cancelled, Commands, Schedule};
use annals::{
    Clock, Command, Context, EventStoreExt, ExecuteError, Metadata, Read, StreamId, Timestamp,
};

use crate::process::places::{Place, SOON, in_each_place};
use crate::process::shop::{Order, OrderCommand, OrderEvent, Reserve, Stock};

in_each_place![
    a_scheduled_command_is_executed_once_when_it_is_due,
    a_cancelled_command_is_not_executed,
    a_command_that_was_executed_or_refused_cannot_be_cancelled,
    cancelling_in_the_instant_of_execution_tells_the_truth,
    an_id_stands_for_one_scheduled_command,
    a_command_that_was_executed_under_an_older_name_of_its_type_is_not_executed_again,
];

fn schedule(place: &Place) -> Schedule {
    let commands = Commands::new().with::<Order, OrderCommand>("Order");
    place.shop().schedule(commands.with::<Stock, Reserve>("Reserve"))
}

fn due(place: &Place) -> Timestamp {
    place.clock.now().saturating_add(Duration::from_secs(60))
}

fn cancel() -> OrderCommand {
    OrderCommand::Cancel { why: "the shop has closed".into() }
}

/// The types of the events of a scheduled command, without `annals.`.
async fn kept(place: &Place, id: &str) -> Vec<String> {
    let stream = StreamId::of("annals.schedule", id).unwrap();
    let events = place.log.read_to_end(Read::stream(stream)).await.unwrap();
    events.iter().map(|event| event.event_type.as_str().replace("annals.", "")).collect()
}

async fn until_settled(place: &Place, id: &str) {
    let settled = async {
        while kept(place, id).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(SOON, settled).await.expect("it is settled");
}

async fn a_scheduled_command_is_executed_once_when_it_is_due(place: Place) {
    let schedule = schedule(&place);
    let running = place.start_these([schedule.inbox()]).await;
    let by_ada = Context::new().actor("ada");
    by_ada.scope(schedule.at(due(&place), "1", cancel(), "cancel-1")).await.unwrap();
    place.pass(Duration::from_secs(59));
    running.wait_until_idle(SOON).await.unwrap();
    assert!(place.order("1").await.cancelled.is_empty(), "it is too early");
    running.stop().await;
    place.pass(Duration::from_secs(2));
    let running = place.start_these([schedule.inbox()]).await;
    until_settled(&place, "cancel-1").await;
    running.wait_until_idle(SOON).await.unwrap();
    assert_eq!(kept(&place, "cancel-1").await, ["CommandIssued", "CommandAccepted"]);
    assert_eq!(place.order("1").await.cancelled.len(), 1);
    let order = StreamId::from_static("order-1");
    let cancelled = place.log.read_to_end(Read::stream(order)).await.unwrap();
    assert_eq!(cancelled[0].metadata.get(Metadata::ACTOR).unwrap(), "ada");
    running.stop().await;
}

async fn a_cancelled_command_is_not_executed(place: Place) {
    let schedule = schedule(&place);
    schedule.at(due(&place), "1", cancel(), "cancel-1").await.unwrap();
    assert_eq!(schedule.cancel("cancel-1").await.unwrap(), Cancelled::Cancelled);
    assert_eq!(schedule.cancel("cancel-1").await.unwrap(), Cancelled::Cancelled);
    assert_eq!(schedule.cancel("cancel-2").await.unwrap(), Cancelled::Unknown);
    place.pass(Duration::from_secs(61));
    let running = place.start_these([schedule.inbox()]).await;
    running.wait_until_idle(SOON).await.unwrap();
    assert!(place.order("1").await.cancelled.is_empty());
    assert_eq!(kept(&place, "cancel-1").await, ["CommandIssued", "CommandCancelled"]);
    let dead = running.dead_letters(annals::SelectDeliveries::all(), 9).await.unwrap();
    assert!(dead.is_empty(), "{dead:#?}");
    running.stop().await;
}

async fn a_command_that_was_executed_or_refused_cannot_be_cancelled(place: Place) {
    let schedule = schedule(&place);
    let reserve = Reserve { order: "1".into(), quantity: 3 };
    schedule.at(due(&place), "apple", reserve, "reserve-1").await.unwrap();
    schedule.at(due(&place), "1", cancel(), "cancel-1").await.unwrap();
    place.pass(Duration::from_secs(61));
    let running = place.start_these([schedule.inbox()]).await;
    until_settled(&place, "cancel-1").await;
    until_settled(&place, "reserve-1").await;
    assert_eq!(schedule.cancel("cancel-1").await.unwrap(), Cancelled::TooLate);
    assert_eq!(schedule.cancel("reserve-1").await.unwrap(), Cancelled::TooLate);
    assert_eq!(kept(&place, "reserve-1").await, ["CommandIssued", "CommandRefused"]);
    running.stop().await;
}

async fn cancelling_in_the_instant_of_execution_tells_the_truth(place: Place) {
    let schedule = schedule(&place);
    for n in 0..12 {
        schedule.at(due(&place), n, cancel(), n).await.unwrap();
    }
    place.pass(Duration::from_secs(61));
    let running = place.start_these([schedule.inbox()]).await;
    for n in 0..12 {
        let answer = schedule.cancel(n).await.unwrap();
        until_settled(&place, &n.to_string()).await;
        let executed = usize::from(answer == Cancelled::TooLate);
        assert_eq!(place.order(&n.to_string()).await.cancelled.len(), executed, "{n}: {answer:?}");
    }
    running.wait_until_idle(SOON).await.unwrap();
    running.stop().await;
}

async fn an_id_stands_for_one_scheduled_command(place: Place) {
    let schedule = schedule(&place);
    let due = due(&place);
    schedule.at(due, "1", cancel(), "cancel-1").await.unwrap();
    schedule.at(due, "1", cancel(), "cancel-1").await.unwrap();
    assert_eq!(kept(&place, "cancel-1").await, ["CommandIssued"]);
    let other = schedule.at(due, "2", cancel(), "cancel-1").await.unwrap_err();
    assert!(matches!(other, ExecuteError::CommandId { .. }), "{other:?}");
}

async fn a_command_that_was_executed_under_an_older_name_of_its_type_is_not_executed_again(
    place: Place,
) {
    #[derive(Clone)]
    struct OlderName(OrderCommand);
    impl Command<Order> for OlderName {
        type Error = std::convert::Infallible;
        fn decide(self, order: &Order) -> Result<Vec<OrderEvent>, Self::Error> {
            self.0.decide(order)
        }
    }
    let schedule = schedule(&place);
    schedule.at(due(&place), "1", cancel(), "cancel-1").await.unwrap();
    let stream = StreamId::from_static("annals.schedule-cancel-1");
    let issued = place.log.read_to_end(Read::stream(stream)).await.unwrap().remove(0);
    // An engine that has died before it could keep what came of it.
    let (shop, id) = (place.shop(), format!("annals.issued/{}", issued.id));
    shop.execute::<Order, _>("1", OlderName(cancel())).id(id).await.unwrap();
    place.pass(Duration::from_secs(61));
    let running = place.start_these([schedule.inbox()]).await;
    until_settled(&place, "cancel-1").await;
    assert_eq!(kept(&place, "cancel-1").await, ["CommandIssued", "CommandAccepted"]);
    assert_eq!(place.order("1").await.cancelled.len(), 1);
    running.stop().await;
}
