use annals::{Aggregate, Annals, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

#[derive(Clone)]
struct Open;

async fn open(bank: Annals) {
    let _ = bank.execute::<Account, _>("ACC_123", Open).await;
}

fn main() {}
