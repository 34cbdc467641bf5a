use annals::{Aggregate, Apply};

enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

fn main() {}
