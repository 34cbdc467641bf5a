//! Given events of an aggregate, when a command: what passes, and what each `then` says else.

use annals::testing::{Outcome, given, given_nothing, given_stored, now};
use annals::{Context, Standing};
use serde_json::json;

use crate::testing::domain::AccountEvent::{MoneyDeposited, MoneyWithdrawn};
use crate::testing::domain::Refusal::{self, InsufficientFunds};
use crate::testing::domain::Teller::{Deposit, Open, Withdraw};
use crate::testing::domain::{Account, AccountEvent, opened};
use crate::testing::failure;

fn rich() -> [AccountEvent; 2] {
    [opened("ada"), MoneyDeposited { cents: 100 }]
}

/// Withdraws 30 of 100.
fn withdrawn() -> Outcome<AccountEvent, Account, Refusal> {
    given::<Account>(rich()).by(Context::new().actor("ada")).when(Withdraw { cents: 30 })
}

/// Is refused 300 of 100.
fn refused() -> Outcome<AccountEvent, Account, Refusal> {
    given::<Account>(rich()).when(Withdraw { cents: 300 })
}

#[test]
fn what_is_so_passes() {
    withdrawn()
        .then([MoneyWithdrawn { cents: 30 }])
        .then_state(|account| assert_eq!(account.balance, 70))
        .then_tags([])
        .then_in("account-1")
        .then_metadata("actor", "ada")
        .then_metadata("correlation", "test")
        .then_recorded(|events| {
            assert_eq!(events[0].id.to_string(), "00000000-0000-0000-0000-000000000003");
            assert_eq!((events[0].recorded_at, events[0].version.get()), (now(), 3));
        });
    let open = || Open { owner: "ada".to_owned() };
    given_nothing::<Account>().when(open()).then([opened("ada")]).then_tags(["owner:ada"]);
    given::<Account>([opened("ada")]).when(open()).then_nothing().then([]);
    refused().then_refused(InsufficientFunds { held: 100 });
    refused().then_refused_saying("only 100 is held");
    given_nothing::<Account>().when(Withdraw { cents: 0 }).then_invalid(["cents"]);
    let by_eve = given::<Account>(rich()).by(Context::new().actor("eve"));
    let denied = by_eve.when(Withdraw { cents: 1 }).then_denied();
    assert_eq!(denied.answer().unwrap_err().code(), "denied");
    assert_eq!(now().to_string(), "2026-01-01T00:00:00Z");
}

#[test]
fn events_are_given_as_they_are_stored() {
    let old = json!({ "type": "MoneyDeposited", "data": { "amount": 5, "by": "a cobol program" } });
    let closed = json!({ "type": "annals.StreamClosed", "metadata": { "actor": "ada" } });
    let account = given_stored::<Account>([old]).and([MoneyDeposited { cents: 2 }]);
    assert_eq!(account.state().balance, 502);
    account.and_stored([closed]).when(Withdraw { cents: 0 }).then_invalid(["cents"]);
    let closed = json!({ "type": "annals.StreamClosed", "tags": ["by:ada"] });
    let closed = given_stored::<Account>([closed]);
    closed.when(Deposit { cents: 1 }).then_not_open(Standing::Closed);

    for (wrong, says) in [
        (json!({ "data": {} }), "missing field `type`"),
        (json!({ "type": "A", "version": 1 }), "unknown field `version`"),
        (json!({ "type": "A", "tags": ["plain"] }), "write it as key:value"),
        (json!({ "type": "" }), "event type is empty"),
    ] {
        let says_else = failure(|| given_stored::<Account>([wrong]));
        assert!(says_else.contains(says), "{says_else}");
    }
    let unknown = given_stored::<Account>([json!({ "type": "AccountFrozen" })]);
    let says = failure(|| unknown.state());
    assert!(says.starts_with("the given events cannot be read: AccountFrozen"), "{says}");
    let says = failure(|| given::<Account>([opened("")]));
    assert!(says.contains("cannot be tagged with `owner`"), "{says}");
}

#[test]
fn other_events_are_told_line_by_line() {
    let says = failure(|| withdrawn().then([MoneyWithdrawn { cents: 31 }, opened("eve")]));
    assert_eq!(
        says,
        r#"other events were expected:
(- expected, + found)
  MoneyWithdrawn {
-     cents: 31,
+     cents: 30,
  }
- AccountOpened {
-     owner: "eve",
- }

given:
    AccountOpened {"owner":"ada"} [owner:ada]
    MoneyDeposited (schema version 2) {"cents":100}

when: Teller on Account
then:
    MoneyWithdrawn {"cents":30}
"#
    );
}

#[test]
fn a_refusal_in_place_of_events_is_told() {
    let says = failure(|| refused().then([MoneyWithdrawn { cents: 300 }]));
    assert_eq!(
        says,
        r#"events were expected:
[
    MoneyWithdrawn {
        cents: 300,
    },
]

given:
    AccountOpened {"owner":"ada"} [owner:ada]
    MoneyDeposited (schema version 2) {"cents":100}

when: Teller on Account
then: refused: only 100 is held
"#
    );
}

#[test]
fn another_refusal_is_told() {
    let says = failure(|| refused().then_refused(InsufficientFunds { held: 1 }));
    assert!(
        says.starts_with(
            "another refusal was expected:
(- expected, + found)
  InsufficientFunds {
-     held: 1,
+     held: 100,
  }

given:
"
        ),
        "{says}"
    );
    let says = failure(|| {
        let nothing = given_nothing::<Account>();
        nothing.when(Deposit { cents: 1 }).then_refused(Refusal::Open);
    });
    assert_eq!(
        says,
        r#"a refusal was expected:
Open

given: nothing

when: Teller on Account
then:
    MoneyDeposited (schema version 2) {"cents":1}
"#
    );
}

#[test]
fn whatever_is_not_so_fails() {
    let closed = || given_stored::<Account>([json!({ "type": "annals.StreamClosed" })]);
    let invalid = || given_nothing::<Account>().when(Withdraw { cents: 0 });
    for (says, starts) in [
        (failure(|| withdrawn().then_nothing()), "nothing was expected to happen"),
        (failure(|| refused().then_nothing()), "nothing was expected to happen"),
        (
            failure(|| refused().then_refused_saying("only 99 is held")),
            "a refusal was expected that says: only 99 is held",
        ),
        (
            failure(|| withdrawn().then_refused_saying("only 99 is held")),
            "a refusal was expected that says: only 99 is held",
        ),
        (failure(|| withdrawn().then_refused(Refusal::Open)), "a refusal was expected:\nOpen"),
        (
            failure(|| refused().then_invalid(["cents"])),
            "errors in just these fields were expected: {\"cents\"}",
        ),
        (
            failure(|| invalid().then_invalid(["cents", "owner"])),
            "errors in just these fields were expected: {\"cents\", \"owner\"}",
        ),
        (failure(|| invalid().then_invalid([])), "errors in just these fields were expected: {}"),
        (failure(|| withdrawn().then_denied()), "it was expected to be denied"),
        (failure(|| refused().then_denied()), "it was expected to be denied"),
        (
            failure(|| withdrawn().then_not_open(Standing::Closed)),
            "the stream was expected to be Closed",
        ),
        (
            failure(|| closed().when(Deposit { cents: 1 }).then_not_open(Standing::Archived)),
            "the stream was expected to be Archived",
        ),
        (failure(|| refused().then_state(|_| {})), "a state was expected"),
        (failure(|| withdrawn().then_state(|_| panic!("mine"))), "mine"),
        (
            failure(|| withdrawn().then_tags(["owner:ada"])),
            "events with just these tags were expected: {\"owner:ada\"}",
        ),
        (failure(|| refused().then_tags([])), "events with just these tags were expected: {}"),
        (
            failure(|| withdrawn().then_metadata("actor", "eve")),
            "events with this in their metadata were expected: actor: \"eve\"",
        ),
        (
            failure(|| withdrawn().then_metadata("reason", "fun")),
            "events with this in their metadata were expected: reason: \"fun\"",
        ),
        (
            failure(|| withdrawn().then_in("account-2")),
            "events in this stream were expected: account-2",
        ),
        (failure(|| withdrawn().then_recorded(|_| panic!("mine"))), "mine"),
    ] {
        assert!(says.starts_with(starts), "{says}");
    }
    assert!(
        failure(|| invalid().then([]))
            .ends_with("then: invalid: cents: must be more than nothing\n")
    );
}
