//! Invariants over sequences of commands, and round trips of events.

use annals::testing::{Sequences, Step, invariant, round_trips};
use annals::{Event, ExecuteError};
use proptest::prelude::*;

use crate::testing::domain::Teller::{Deposit, Open, Steal, Withdraw};
use crate::testing::domain::{Account, AccountEvent, Teller, opened};
use crate::testing::failure;

fn honest() -> impl Strategy<Value = Teller> {
    prop_oneof![
        1 => Just(Open { owner: "ada".to_owned() }),
        4 => (0..100_i64).prop_map(|cents| Deposit { cents }),
        4 => (0..100_i64).prop_map(|cents| Withdraw { cents }),
    ]
}

fn with_a_thief() -> impl Strategy<Value = Teller> {
    prop_oneof![9 => honest(), 1 => (1..100_i64).prop_map(|cents| Steal { cents })]
}

#[test]
fn what_holds_passes() {
    invariant::<Account, _>(honest(), |account| account.balance >= 0);
    Sequences::of(with_a_thief())
        .cases(50)
        .steps_max(10)
        .seed(3)
        .given([AccountEvent::MoneyDeposited { cents: 1000 }])
        .keep(|account: &Account| account.balance >= 0);
}

#[test]
fn the_smallest_sequence_that_breaks_it_is_told_step_by_step() {
    let says = failure(|| invariant::<Account, _>(with_a_thief(), |account| account.balance >= 0));
    assert_eq!(
        says,
        r#"the invariant is broken; the smallest case of seed 0:
1. Steal { cents: 1 }
       MoneyWithdrawn {"cents":1}
    => does not hold here
"#
    );
    let says = failure(|| {
        let rich = AccountEvent::MoneyDeposited { cents: 100 };
        Sequences::of(honest()).given([rich]).keep(|account: &Account| account.balance < 103);
    });
    assert!(says.contains("1. Deposit { cents: 3 }\n"), "{says}");
    // Without a step there is nothing to break.
    let nothing = Sequences::of(honest()).steps_max(0);
    nothing.keep_each_step(|_: &Step<'_, Account, Teller>| false);
}

#[test]
fn each_step_can_be_checked() {
    let moved = |step: &Step<'_, Account, Teller>| {
        let moved = step.after.balance - step.before.balance;
        match (step.command, step.answer) {
            (_, Err(ExecuteError::Refused(_) | ExecuteError::Invalid(_))) => moved == 0,
            (Deposit { cents }, Ok(())) => moved == *cents,
            (Withdraw { cents }, Ok(())) => moved == -cents,
            (_, answer) => answer.is_ok(),
        }
    };
    Sequences::of(with_a_thief()).keep_each_step(moved);
    let says = failure(|| {
        let commands = Sequences::of(honest());
        commands.keep_each_step(|step: &Step<'_, Account, Teller>| {
            assert!(step.answer.is_ok(), "refused");
            true
        });
    });
    // What a check panics with is told.
    let ends =
        "       invalid: cents: must be more than nothing\n    => does not hold here: refused\n";
    assert!(says.ends_with(ends) && says.lines().count() == 4, "{says}");
}

#[test]
fn a_mistake_of_the_program_breaks_any_invariant() {
    let says = failure(|| {
        invariant::<Account, _>(Just(Open { owner: String::new() }), |_| true);
    });
    assert_eq!(
        says,
        r#"the invariant is broken; the smallest case of seed 0:
1. Open { owner: "" }
       invalid: AccountOpened cannot be tagged with `owner`; give the field a value that makes a tag: tag has no `:` between key and value; write it as key:value, like order:42
    => this is not a refusal but a mistake in the program
"#
    );
}

#[test]
fn the_same_sequences_are_tried_until_another_seed_is_chosen() {
    let tried = |seed| {
        let tried = std::cell::RefCell::new(Vec::new());
        let sequences = Sequences::of(honest()).cases(5).seed(seed);
        sequences.keep_each_step(|step: &Step<'_, Account, Teller>| {
            tried.borrow_mut().push(format!("{:?}", step.command));
            true
        });
        tried.into_inner()
    };
    assert_eq!(tried(1), tried(1));
    assert!(tried(1).len() <= 5 * 32);
    assert_ne!(tried(1), tried(2));
}

/// Loses what it should keep.
#[derive(Clone, Debug, PartialEq, Event)]
enum Forgetful {
    Noted {
        #[serde(skip_serializing_if = "is_long", default)]
        text: String,
    },
    Measured {
        #[serde(with = "coarse")]
        grams: u32,
    },
}

fn is_long(text: &str) -> bool {
    text.len() > 3
}

mod coarse {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(grams: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(grams / 10)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        u8::deserialize(deserializer).map(|tens| u32::from(tens) * 10)
    }
}

#[test]
fn round_trips_show_what_is_lost() {
    round_trips(any::<i64>().prop_map(|cents| AccountEvent::MoneyWithdrawn { cents }));
    let says = failure(|| {
        round_trips("[a-z]{0,9}".prop_map(|text| Forgetful::Noted { text }));
    });
    assert_eq!(
        says,
        r#"an event is not read as it was written; the smallest case of seed 0:
stored as Noted {}
(- expected, + found)
  Noted {
-     text: "aaaa",
+     text: "",
  }
"#
    );
    let says = failure(|| {
        round_trips((2560..9999_u32).prop_map(|grams| Forgetful::Measured { grams }));
    });
    assert!(says.contains("cannot be read") && says.contains("invalid value"), "{says}");
    let says = failure(|| round_trips(Just(opened(""))));
    assert!(says.contains("cannot be stored: AccountOpened cannot be tagged"), "{says}");
}

#[test]
fn what_panics_is_told_with_what_led_to_it() {
    #[derive(Clone, Debug)]
    struct Careless(u64);

    impl annals::Command<Account> for Careless {
        type Error = std::convert::Infallible;

        fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
            let held = u64::try_from(account.balance).unwrap_or(0);
            let left = held.checked_sub(self.0).expect("nobody takes more than there is");
            let cents = i64::try_from(held - left).unwrap_or(i64::MAX);
            Ok(vec![AccountEvent::MoneyWithdrawn { cents }])
        }
    }

    let says = failure(|| {
        let commands = (0..100_u64).prop_map(Careless);
        invariant::<Account, _>(commands, |_| true);
    });
    assert!(says.contains("1. Careless(1)\n"), "{says}");
    assert!(says.contains("this panics: nobody takes more than there is"), "{says}");
}
