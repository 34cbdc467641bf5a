//! The domain without any I/O: events and a command in, events or a refusal out.

use annals::testing::{Given, given, given_nothing};
use annals::{Context, StateMachine};
use tracker::issue::IssueEvent::{
    IssueAssigned, IssueClosed, IssueCommented, IssueCreated, IssueReopened, IssueViewed,
    StatusChanged,
};
use tracker::issue::{Issue, IssueCommand, IssueEvent, IssueRefusal, Status};
use tracker::person::{Person, PersonCommand, PersonEvent, PersonRefusal};

fn created() -> IssueEvent {
    IssueCreated { title: "It smokes".to_owned(), description: String::new() }
}

fn changed(from: Status, to: Status) -> IssueEvent {
    StatusChanged { from, to }
}

/// An issue of which somebody who is known asks something.
fn issue(events: impl IntoIterator<Item = IssueEvent>) -> Given<Issue> {
    given::<Issue>(events).by(Context::new().actor("ada"))
}

/// What leads to this status.
fn until(status: Status) -> Vec<IssueEvent> {
    let way = [
        created(),
        changed(Status::Open, Status::InProgress),
        changed(Status::InProgress, Status::Resolved),
        IssueClosed,
    ];
    let steps = match status {
        Status::Open => 1,
        Status::InProgress => 2,
        Status::Resolved => 3,
        Status::Closed => 4,
    };
    way.into_iter().take(steps).collect()
}

#[test]
fn an_issue_is_created_once_with_a_title() {
    let create =
        |title: &str| IssueCommand::Create { title: title.to_owned(), description: String::new() };
    issue([]).when(create(" It smokes ")).then([created()]);
    issue([created()]).when(create("Again")).then_refused(IssueRefusal::Exists);
    issue([]).when(create("  ")).then_invalid(["title"]);
    issue([]).when(create(&"x".repeat(201))).then_invalid(["title"]);
    issue([]).when(create("Two\r\nBcc: lines")).then_invalid(["title"]);
    issue([]).when(IssueCommand::Become(Status::InProgress)).then_refused(IssueRefusal::NotFound);
}

#[test]
fn a_status_changes_only_along_its_ways() {
    let all = [Status::Open, Status::InProgress, Status::Resolved, Status::Closed];
    for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
        let asked = issue(until(from)).when(IssueCommand::Become(to));
        match (from, to) {
            (Status::Open, Status::InProgress) | (Status::InProgress, Status::Resolved) => {
                asked.then([changed(from, to)]);
            }
            (Status::Resolved, Status::Closed) => drop(asked.then([IssueClosed])),
            (Status::Resolved | Status::Closed, Status::Open) => drop(asked.then([IssueReopened])),
            _ => {
                let illegal = from.to(to).expect_err("it is none of the ways");
                asked.then_refused(IssueRefusal::Status(illegal));
            }
        }
    }
}

#[test]
fn what_is_said_already_is_not_said_again_and_what_is_closed_is_nobodys() {
    let assign = || IssueCommand::Assign { to: "grace".to_owned() };
    let assigned = || IssueAssigned { to: "grace".to_owned() };
    issue([created()]).when(assign()).then([assigned()]);
    issue([created(), assigned()]).when(assign()).then_nothing();
    issue(until(Status::Closed)).when(assign()).then_refused(IssueRefusal::Closed);
    let comment = IssueCommand::Comment { text: "Still".to_owned() };
    let commented = IssueCommented { text: "Still".to_owned() };
    issue(until(Status::Closed)).when(comment).then([commented]);
    issue([created()]).when(IssueCommand::Comment { text: " ".to_owned() }).then_invalid(["text"]);
}

#[test]
fn somebody_unknown_changes_nothing_and_looking_changes_no_state() {
    let comment = IssueCommand::Comment { text: "Hm".to_owned() };
    given::<Issue>([created()]).when(comment).then_denied();
    let before = given::<Issue>([created()]);
    let after = given::<Issue>([created(), IssueViewed]);
    assert_eq!(before.state(), after.state());
}

#[test]
fn a_person_joins_once_and_changes_teams() {
    let join = |id: &str, email: &str| PersonCommand::Join {
        id: id.to_owned(),
        name: "Ada".to_owned(),
        email: email.to_owned(),
        team: "engines".to_owned(),
    };
    let joined = || PersonEvent::PersonJoined {
        name: "Ada".to_owned(),
        email: "ada@example.org".to_owned(),
        team: "engines".to_owned(),
    };
    let nobody = given_nothing::<Person>;
    nobody().when(join("ada", "ada@example.org")).then([joined()]);
    nobody().when(join("ada; Path=/", "ada@example.org")).then_invalid(["id"]);
    nobody().when(join("ada", "ada@example.org\r\nBcc: eve@example.org")).then_invalid(["email"]);
    let ada = || given::<Person>([joined()]);
    ada().when(join("ada", "ada@example.org")).then_refused(PersonRefusal::Exists);
    let to = |team: &str| PersonCommand::Move { team: team.to_owned() };
    ada().when(to("engines")).then_nothing();
    ada().when(to("looms")).then([PersonEvent::PersonMoved { team: "looms".to_owned() }]);
    nobody().when(to("looms")).then_refused(PersonRefusal::NotFound);
}
