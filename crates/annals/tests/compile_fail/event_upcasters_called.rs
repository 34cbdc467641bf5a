use annals::{Event, Upcasters};

#[derive(Event)]
#[event(upcasters = upcasters())]
enum AccountEvent {
    Opened,
}

fn upcasters() -> Upcasters {
    Upcasters::new()
}

#[derive(Event)]
#[event(upcasters = "upcasters")]
enum LoanEvent {
    Opened,
}

#[derive(Event)]
#[event(upcasters = forgets)]
enum CardEvent {
    Opened,
}

fn forgets() {}

fn main() {}
