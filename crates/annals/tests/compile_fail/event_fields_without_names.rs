#[derive(annals::Event)]
enum AccountEvent {
    Opened { owner: String },
    Moved(String, String),
}

fn main() {}
