use annals::{Aggregate, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, serde::Serialize, serde::Deserialize, Aggregate)]
#[aggregate(category = "account", event = AccountEvent, snapshot)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

fn main() {}
