use annals::{Aggregate, Annals, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

struct AccountId(u32);

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent, id = AccountId)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

async fn balance(bank: Annals) {
    let _ = bank.load::<Account>("ACC_123").await;
}

fn main() {}
