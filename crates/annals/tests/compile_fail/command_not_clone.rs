use annals::{Aggregate, Apply, Command, Event};

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

struct Open;

impl Command<Account> for Open {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![])
    }
}

fn main() {}
