use annals::{Event, types};

#[derive(Event)]
enum IssueEvent {
    IssueAssigned { to: String },
    IssueClosed,
}

fn main() {
    let _ = types!(IssueEvent::{IssueAsigned, IssueClosed});
    let _ = types!(String);
}
