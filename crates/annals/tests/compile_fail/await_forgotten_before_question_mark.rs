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

async fn asks_too_early(bank: Annals) -> Result<(), Box<dyn std::error::Error>> {
    bank.load::<Account>("ACC_123")?;
    Ok(())
}

fn main() {}
