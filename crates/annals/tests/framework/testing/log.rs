//! Given a log, when a decision.

use annals::Context;
use annals::testing::{given_empty_log, given_log};
use serde_json::json;

use crate::testing::domain::{Buy, NoSeat, banned, planned, sold};
use crate::testing::failure;

const BUY: Buy = Buy { show: "hamlet", guest: "ada" };

#[test]
fn what_is_so_passes() {
    given_log([planned("hamlet", 2), planned("macbeth", 0), sold("hamlet", "eve")])
        .and([banned("eve")])
        .by(Context::new().actor("ada"))
        .when(BUY)
        .then([sold("hamlet", "ada")])
        .then_state(|(seats, _)| assert_eq!(seats.left, 0))
        .then_tags(["show:hamlet", "guest:ada"])
        .then_in("show-hamlet")
        .then_metadata("actor", "ada");
    given_empty_log().when(BUY).then_refused(NoSeat::SoldOut);
    given_log([planned("hamlet", 1)])
        .and_in("elsewhere-1", [banned("ada")])
        .when(BUY)
        .then_refused(NoSeat::NotWelcome("ada"));
}

#[test]
fn only_what_the_models_ask_for_is_folded() {
    // It has the type and lacks the tag; it would be one seat too few.
    let untagged = json!({ "type": "SeatSold", "data": { "show": "hamlet", "guest": "joan" } });
    let tagged = json!({
        "type": "SeatSold",
        "data": { "show": "hamlet", "guest": "joan" },
        "tags": ["show:hamlet"],
    });
    let log = || given_log([planned("hamlet", 1)]);
    log().and_stored([untagged]).when(BUY).then([sold("hamlet", "ada")]);
    log().and_stored([tagged]).when(BUY).then_refused(NoSeat::SoldOut);
}

#[test]
fn what_is_not_so_is_told() {
    let says = failure(|| {
        given_log([planned("hamlet", 1)])
            .and([banned("eve")])
            .when(BUY)
            .then_refused(NoSeat::SoldOut)
    });
    assert_eq!(
        says,
        r#"a refusal was expected:
SoldOut

given:
    ShowPlanned {"show":"hamlet","seats":1} [show:hamlet]
    GuestBanned {"guest":"eve"} [guest:eve]

when: Buy
then:
    SeatSold {"show":"hamlet","guest":"ada"} [guest:ada, show:hamlet]
"#
    );
    let says = failure(|| given_empty_log().and_in("-", [banned("eve")]));
    assert!(says.starts_with("events cannot be given in \"-\""), "{says}");
}
