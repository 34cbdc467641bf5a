#[derive(annals::Event)]
enum AccountEvent {}

fn main() {}
