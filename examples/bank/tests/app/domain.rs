//! The domain without any I/O: events in, events or a refusal out.

use annals::testing::{Sequences, Step, given, given_nothing, invariant, round_trips};
use bank::account::Account;
use bank::account::AccountCommand::{self, Deposit, Open, Withdraw};
use bank::account::AccountEvent::{self, AccountOpened, MoneyDeposited, MoneyWithdrawn};
use bank::cents::Cents;
use bank::refusal::Refusal::{AlreadyOpen, InsufficientFunds, NotOpen, TooMuch};
use proptest::prelude::*;

fn opened() -> AccountEvent {
    AccountOpened { owner: "Ada".to_owned() }
}

#[test]
fn an_account_is_opened_once() {
    let open = || Open { owner: "Ada".to_owned() };
    given_nothing::<Account>().when(open()).then([opened()]);
    given::<Account>([opened()]).when(open()).then_refused(AlreadyOpen);
}

#[test]
fn only_an_open_account_takes_money() {
    given_nothing::<Account>().when(Deposit { amount: 1 }).then_refused(NotOpen);
    given_nothing::<Account>().when(Withdraw { amount: 1 }).then_refused(NotOpen);
    given::<Account>([opened()])
        .when(Deposit { amount: 1 })
        .then([MoneyDeposited { amount: 1 }])
        .then_state(|account| assert_eq!(account.balance, Some(1)));
}

#[test]
fn nobody_withdraws_what_is_not_there() {
    let account = || {
        given::<Account>([opened(), MoneyDeposited { amount: 100 }, MoneyWithdrawn { amount: 40 }])
    };
    account().when(Withdraw { amount: 60 }).then([MoneyWithdrawn { amount: 60 }]);
    account().when(Withdraw { amount: 61 }).then_refused(InsufficientFunds { held: 60 });
}

#[test]
fn an_account_does_not_overflow() {
    let account = || given::<Account>([opened(), MoneyDeposited { amount: u64::MAX - 1 }]);
    account().when(Deposit { amount: 1 }).then([MoneyDeposited { amount: 1 }]);
    account().when(Deposit { amount: 2 }).then_refused(TooMuch);
}

#[test]
fn applying_never_fails_whatever_was_recorded() {
    let balance = |events: &[AccountEvent]| given::<Account>(events.to_vec()).state().balance;
    let too_much = [opened(), MoneyDeposited { amount: u64::MAX }, MoneyDeposited { amount: 1 }];
    assert_eq!(balance(&too_much), Some(u64::MAX));
    assert_eq!(balance(&[opened(), MoneyWithdrawn { amount: 1 }]), Some(0));
    assert_eq!(balance(&[MoneyDeposited { amount: 1 }]), None);
}

/// Amounts that people have, and those at the end of all amounts.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0..1000_u64, 1 => u64::MAX - 1000..=u64::MAX]
}

fn command() -> impl Strategy<Value = AccountCommand> {
    prop_oneof![
        1 => "[A-Z][a-z]{0,5}".prop_map(|owner| Open { owner }),
        4 => amount().prop_map(|amount| Deposit { amount }),
        4 => amount().prop_map(|amount| Withdraw { amount }),
    ]
}

/// What every event adds to a balance, without any of the care that the account takes.
#[test]
fn a_balance_is_what_was_deposited_less_what_was_withdrawn() {
    Sequences::of(command()).keep_each_step(|step: &Step<'_, Account, AccountCommand>| {
        let [before, after] =
            [step.before, step.after].map(|account| i128::from(account.balance.unwrap_or(0)));
        after - before
            == match (step.command, step.answer) {
                (Deposit { amount }, Ok(())) => i128::from(*amount),
                (Withdraw { amount }, Ok(())) => -i128::from(*amount),
                _ => 0,
            }
    });
}

#[test]
fn an_open_account_stays_open() {
    let commands = Sequences::of(command()).given([opened()]);
    commands.keep(|account: &Account| account.balance.is_some());
    // And one that was never opened has nothing.
    let never = command().prop_filter("opens it", |command| !matches!(command, Open { .. }));
    invariant::<Account, _>(never, |account| account.balance.is_none());
}

#[test]
fn events_are_read_as_they_were_written() {
    round_trips(prop_oneof![
        any::<String>().prop_map(|owner| AccountOpened { owner }),
        any::<u64>().prop_map(|amount| MoneyDeposited { amount }),
        any::<u64>().prop_map(|amount| MoneyWithdrawn { amount }),
    ]);
}

#[test]
fn amounts_are_read_and_written_with_two_decimals() {
    for (text, cents, written) in [
        ("0", 0, "0.00"),
        ("100", 10_000, "100.00"),
        ("12.5", 1_250, "12.50"),
        ("0.05", 5, "0.05"),
        ("184467440737095516.15", u64::MAX, "184467440737095516.15"),
    ] {
        assert_eq!(text.parse(), Ok(Cents(cents)), "{text}");
        assert_eq!(Cents(cents).to_string(), written);
    }
    let wrong = ["", ".", "1.", ".5", "1.234", "-1", "+1", "1,5", "1e3", "184467440737095516.16"];
    for text in wrong {
        assert!(text.parse::<Cents>().is_err(), "{text}");
    }
}
