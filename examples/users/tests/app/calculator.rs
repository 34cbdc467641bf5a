//! Deciding and calculating, without any I/O.

use annals::{Event, ExpectedVersion, Metadata, Timestamp, Version};
use serde_json::json;
use users::change::{Change, Command, NotDecided, Outcome, Refusal, Step};
use users::password::PasswordDigest;
use users::user::{Happened, User, UserEvent, UserId, apply};

fn digest() -> PasswordDigest {
    serde_json::from_value(json!("$argon2id$…")).expect("a digest is a text")
}

fn created() -> UserEvent {
    let (name, email) = ("Ada".to_owned(), "ada@example.org".to_owned());
    UserEvent::UserCreated { name, email, password_digest: digest() }
}

fn moment(hour: i64) -> Timestamp {
    Timestamp::from_micros(1_772_355_600_000_000 + hour * 3_600_000_000)
}

/// The row after one event an hour.
fn row(user: UserId, events: impl IntoIterator<Item = UserEvent>) -> Option<User> {
    let happened =
        events.into_iter().zip(0..).map(|(event, hour)| Happened { user, at: moment(hour), event });
    happened.fold(None, |row, happened| apply(row, &happened))
}

fn change(user: UserId, command: Command) -> Change {
    let metadata = Metadata::new(json!({ "request_id": "r1" })).expect("an object");
    Change { user, at: moment(7), metadata, command }
}

fn create() -> Command {
    let (name, email) = ("Ada".to_owned(), "ada@example.org".to_owned());
    Command::Create { name, email, password_digest: digest() }
}

#[track_caller]
fn step(outcome: Result<Outcome, NotDecided>) -> Step {
    match outcome {
        Ok(Outcome::Step(step)) => *step,
        other => panic!("something should happen, not {other:?}"),
    }
}

#[test]
fn rows_are_made_of_events() {
    let id = UserId::generate();
    let ada = row(id, [created()]).unwrap();
    assert_eq!((&*ada.name, &*ada.email, ada.deleted), ("Ada", "ada@example.org", false));
    assert_eq!((ada.created_at, ada.updated_at), (moment(0), moment(0)));
    assert_eq!(ada.version, Version::new(1));

    let gone = row(id, [created(), UserEvent::UserDestroyed { id }]).unwrap();
    let expected = User { deleted: true, updated_at: moment(1), version: Version::new(2), ..ada };
    assert_eq!(gone, expected);
}

#[test]
fn calculating_never_fails_whatever_was_recorded() {
    let id = UserId::generate();
    assert_eq!(row(id, [UserEvent::UserDestroyed { id }]), None);
    assert_eq!(row(id, [created(), created()]), row(id, [created()]));
}

#[test]
fn a_creation_is_recorded_as_the_first_event_of_its_stream() {
    let id = UserId::generate();
    let Step { happened, row: made, append } = step(change(id, create()).on(None));
    assert_eq!(happened, Happened { user: id, at: moment(7), event: created() });
    assert_eq!(Some(made), apply(None, &happened));

    let part = &append.streams[0];
    assert_eq!(part.stream.as_str(), format!("user-{id}"));
    assert_eq!(part.expected, ExpectedVersion::NoStream);
    let [event] = &part.events[..] else { panic!("one event") };
    assert_eq!(event.event_type.as_str(), "UserCreated");
    assert_eq!(event.occurred_at, Some(moment(7)));
    assert_eq!(event.metadata.get("request_id"), Some(json!("r1")));
    assert_eq!(event.data, created().encode().unwrap().data);
}

#[test]
fn a_destruction_is_recorded_behind_what_is_in_the_row() {
    let id = UserId::generate();
    let ada = row(id, [created()]);
    let Step { row: gone, append, .. } = step(change(id, Command::Destroy).on(ada));
    assert!(gone.deleted);
    assert_eq!(append.streams[0].expected, ExpectedVersion::Exact(Version::new(1)));
    assert_eq!(append.streams[0].events[0].event_type.as_str(), "UserDestroyed");
}

#[test]
fn nothing_happens_twice() {
    let id = UserId::generate();
    for (row, command) in [
        (row(id, [created(), UserEvent::UserDestroyed { id }]), Command::Destroy),
        (row(id, [created()]), create()),
    ] {
        let outcome = change(id, command).on(row.clone());
        assert!(matches!(&outcome, Ok(Outcome::Nothing(user)) if Some(user) == row.as_ref()));
    }
}

#[test]
fn nobody_is_destroyed_who_was_not_created() {
    let id = UserId::generate();
    let refused = change(id, Command::Destroy).on(None).unwrap_err();
    assert!(matches!(refused, NotDecided::Refused(Refusal::NotFound(found)) if found == id));
}

#[test]
fn a_digest_is_not_shown() {
    let id = UserId::generate();
    let Step { happened, row, .. } = step(change(id, create()).on(None));
    let shown = format!("{happened:?} {row:?} {:?}", create());
    assert!(shown.contains("ada@example.org") && !shown.contains("argon2id"), "{shown}");
}
