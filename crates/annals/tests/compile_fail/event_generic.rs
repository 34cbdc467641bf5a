#[derive(annals::Event)]
enum AccountEvent<Currency> {
    Deposited { amount: Currency },
}

fn main() {}
