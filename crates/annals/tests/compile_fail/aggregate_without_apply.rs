use annals::{Aggregate, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account;

fn main() {}
