use annals::{Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[annals::fold]
struct Account;

#[annals::fold(version = 2)]
impl Apply<AccountEvent> for Account {
    fn apply(&mut self, _: AccountEvent) {}
}

#[annals::fold]
impl Account {
    fn open(&mut self) {}
}

fn main() {}
