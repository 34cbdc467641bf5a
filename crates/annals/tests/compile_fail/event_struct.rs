#[derive(annals::Event)]
struct AccountOpened {
    owner: String,
}

fn main() {}
