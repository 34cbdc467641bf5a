//! The domain without any I/O: events in, events or a refusal out.

use annals::{Apply, Command};
use bank::account::Account;
use bank::account::AccountCommand::{self, Deposit, Open, Withdraw};
use bank::account::AccountEvent::{self, AccountOpened, MoneyDeposited, MoneyWithdrawn};
use bank::cents::Cents;
use bank::refusal::Refusal::{self, AlreadyOpen, InsufficientFunds, NotOpen, TooMuch};

fn opened() -> AccountEvent {
    let owner = "Ada".to_owned();
    AccountOpened { owner }
}

fn account(history: &[AccountEvent]) -> Account {
    let mut account = Account::default();
    history.iter().cloned().for_each(|event| account.apply(event));
    account
}

#[track_caller]
fn check(
    history: &[AccountEvent],
    command: AccountCommand,
    expected: Result<AccountEvent, Refusal>,
) {
    let decided = command.decide(&account(history));
    assert_eq!(decided, expected.map(|event| vec![event]));
}

#[test]
fn an_account_is_opened_once() {
    let open = || Open { owner: "Ada".to_owned() };
    check(&[], open(), Ok(opened()));
    check(&[opened()], open(), Err(AlreadyOpen));
}

#[test]
fn only_an_open_account_takes_money() {
    check(&[], Deposit { amount: 1 }, Err(NotOpen));
    check(&[], Withdraw { amount: 1 }, Err(NotOpen));
    check(&[opened()], Deposit { amount: 1 }, Ok(MoneyDeposited { amount: 1 }));
}

#[test]
fn nobody_withdraws_what_is_not_there() {
    let history = [opened(), MoneyDeposited { amount: 100 }, MoneyWithdrawn { amount: 40 }];
    check(&history, Withdraw { amount: 60 }, Ok(MoneyWithdrawn { amount: 60 }));
    check(&history, Withdraw { amount: 61 }, Err(InsufficientFunds { held: 60 }));
}

#[test]
fn an_account_does_not_overflow() {
    let history = [opened(), MoneyDeposited { amount: u64::MAX - 1 }];
    check(&history, Deposit { amount: 1 }, Ok(MoneyDeposited { amount: 1 }));
    check(&history, Deposit { amount: 2 }, Err(TooMuch));
}

#[test]
fn applying_never_fails_whatever_was_recorded() {
    let too_much = [opened(), MoneyDeposited { amount: u64::MAX }, MoneyDeposited { amount: 1 }];
    assert_eq!(account(&too_much).balance, Some(u64::MAX));
    assert_eq!(account(&[opened(), MoneyWithdrawn { amount: 1 }]).balance, Some(0));
    assert_eq!(account(&[MoneyDeposited { amount: 1 }]).balance, None);
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
