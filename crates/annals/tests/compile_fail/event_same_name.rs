#[derive(annals::Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    #[event(name = "Deposited")]
    DepositedInCash { amount: u64 },
}

fn main() {}
