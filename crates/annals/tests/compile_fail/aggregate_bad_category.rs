use annals::{Aggregate, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "savings-account", event = AccountEvent)]
struct SavingsAccount;

#[derive(Default, Aggregate)]
#[aggregate(categories = "account", event = AccountEvent)]
struct Account;

fn main() {}
