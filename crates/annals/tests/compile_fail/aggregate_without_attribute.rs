use annals::{Aggregate, Apply, Event};

#[derive(Event)]
enum AccountEvent {
    Opened,
}

#[derive(Default, Aggregate)]
struct Account;

#[derive(Default, Aggregate)]
#[aggregate(event = AccountEvent)]
struct SavingsAccount;

#[derive(Default, Aggregate)]
#[aggregate(category = "loan")]
struct Loan;

fn main() {}
