#[derive(annals::Event)]
#[event(version = 2)]
enum AccountEvent {
    #[event(rename = "opened")]
    Opened { owner: String },
    #[event(tag = "branch")]
    Moved {
        #[event(name = "place")]
        to: String,
    },
}

fn main() {}
