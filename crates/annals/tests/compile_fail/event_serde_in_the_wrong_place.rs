#[derive(annals::Event)]
#[serde(tag = "type")]
enum AccountEvent {
    #[serde(rename = "account-opened")]
    Opened { owner: String },
}

fn main() {}
