#[derive(annals::Event)]
enum TransferEvent {
    Sent {
        #[event(subject)]
        from: String,
        #[event(subject)]
        to: String,
    },
    Received {
        #[event(subject = "from")]
        from: String,
    },
}

fn main() {}
