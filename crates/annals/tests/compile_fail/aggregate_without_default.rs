use annals::{Aggregate, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

fn main() {}
