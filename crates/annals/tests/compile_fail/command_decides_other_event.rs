use annals::{Aggregate, Apply, Command, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Event)]
enum LoanEvent {
    Lent,
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account;

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

#[derive(Clone)]
struct Open;

impl Command<Account> for Open {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![LoanEvent::Lent])
    }
}

#[derive(Clone)]
struct Close;

impl Command<Account> for Close {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Account) -> Result<Vec<LoanEvent>, Self::Error> {
        Ok(vec![])
    }
}

fn main() {}
