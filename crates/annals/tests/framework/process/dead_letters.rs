//! Commands that fail for good: seen by people, and in the way of nothing but further commands.

use annals::{DeliveryState, Inboxes, SelectDeliveries};

use crate::process::fulfilment::PATIENCE;
use crate::process::places::{Place, in_each_place, is_in};
use crate::process::shop::{Order, OrderCommand};

in_each_place![a_command_that_fails_for_good_is_a_dead_letter_until_it_is_skipped];

async fn a_command_that_fails_for_good_is_a_dead_letter_until_it_is_skipped(place: Place) {
    place.stock("nothing", 10).await;
    let running = place.start().await;
    place.place("1", "nothing", 1).await;
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    place.pay("1").await;
    place.until_process("1", |events| is_in(events, "Paid")).await;
    let dead = until_dead(&running).await;
    assert_eq!(dead.event.event_type.as_str(), "annals.CommandIssued");
    let error = dead.last_error.unwrap();
    assert!(error.contains("Shipped would be stored so that it cannot be read"), "{error}");
    // Other processes do not notice.
    place.stock("apple", 10).await;
    place.place("2", "apple", 1).await;
    place.pay("2").await;
    place.until_finished("2").await;
    // Nor does this one's next event.
    place.pay("1").await;
    place
        .until_process("1", |events| events.iter().filter(|name| *name == "Paid").count() == 2)
        .await;
    let all = SelectDeliveries::one(dead.id);
    assert_eq!(running.skip(all, "it was sent by hand").await.unwrap(), 1);
    place.pass(PATIENCE);
    assert_eq!(place.order("1").await.shipped, 0);
    running.stop().await;
}

async fn until_dead(inboxes: &Inboxes) -> annals::DeliveryInfo {
    let asking = async {
        loop {
            let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
            if let Some(dead) = dead.into_iter().next() {
                assert_eq!(dead.state, DeliveryState::Dead);
                return dead;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::process::places::SOON, asking).await.expect("it dies")
}

#[test]
#[should_panic(expected = "there are two commands named Order")]
fn two_commands_of_one_name_are_a_mistake_in_the_program() {
    let commands = annals::process::Commands::new().with::<Order, OrderCommand>("Order");
    drop(commands.with::<crate::process::shop::Stock, crate::process::shop::Reserve>("Order"));
}
