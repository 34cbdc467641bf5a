#[derive(serde::Serialize, serde::Deserialize)]
struct Branch(u32);

#[derive(annals::Event)]
enum AccountEvent {
    Opened {
        #[event(tag = "branch")]
        branch: Branch,
    },
    Moved {
        #[event(subject)]
        to: Option<Vec<u8>>,
    },
}

fn main() {}
