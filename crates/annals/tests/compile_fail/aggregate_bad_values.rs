use annals::{Aggregate, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent, unknown = ignore)]
struct Account;

#[derive(Default, Aggregate)]
#[aggregate(category = "loan", event = AccountEvent, unknown = "skip")]
struct Loan;

#[derive(Default, Aggregate)]
#[aggregate(category = "card", event = AccountEvent, snapshot = 2)]
struct Card;

#[derive(Default, Aggregate)]
#[aggregate(category = "bond", event = AccountEvent, snapshot(v = 2))]
struct Bond;

#[derive(Default, Aggregate)]
#[aggregate(category = "safe", event = AccountEvent, cache = true)]
struct Safe;

fn main() {}
