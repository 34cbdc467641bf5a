use annals::{Aggregate, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

struct AccountId(u32);

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent, id = AccountId)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

fn main() {}
