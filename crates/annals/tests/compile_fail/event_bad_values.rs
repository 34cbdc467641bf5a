#[derive(annals::Event)]
enum AccountEvent {
    #[event(name = "")]
    Opened,
    #[event(version = 0)]
    Closed,
    Moved {
        #[event(tag = "branch:old")]
        from: String,
    },
    #[event(name = "Frozen", name = "Blocked")]
    Frozen,
    #[event(name = "annals.StreamClosed")]
    Ended {
        #[event(tag = "annals.command")]
        by: String,
    },
}

fn main() {}
