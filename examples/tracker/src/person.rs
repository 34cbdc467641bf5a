//! A person, who belongs to a team.

use annals::{Aggregate, Apply, Command, Event, FieldErrors};
use serde::Serialize;

use self::PersonEvent::{PersonJoined, PersonMoved};

const NAME_CHARS_MAX: usize = 80;
const ID_BYTES_MAX: usize = 40;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum PersonEvent {
    PersonJoined { name: String, email: String, team: String },
    PersonMoved { team: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "person", event = PersonEvent)]
pub struct Person {
    /// The team; `None` for somebody who has not joined.
    pub team: Option<String>,
}

impl Apply<PersonEvent> for Person {
    fn apply(&mut self, event: PersonEvent) {
        let (PersonJoined { team, .. } | PersonMoved { team }) = event;
        self.team = Some(team);
    }
}

#[derive(Clone, Debug)]
pub enum PersonCommand {
    Join { id: String, name: String, email: String, team: String },
    Move { team: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonRefusal {
    #[error("there is somebody of this id already; choose another")]
    Exists,
    #[error("there is nobody of this id")]
    NotFound,
}

impl Command<Person> for PersonCommand {
    type Error = PersonRefusal;

    fn field_errors(&self) -> FieldErrors {
        let (Self::Join { team, .. } | Self::Move { team }) = self;
        let errors = FieldErrors::none().check(is_name(team), "team", "name", "name a team");
        let Self::Join { id, name, email, .. } = self else { return errors };
        errors
            .check(is_id(id), "id", "id", "use 1 to 40 letters a to z, digits, `_` and `.`")
            .check(is_name(name), "name", "name", "give a name of 1 to 80 characters")
            .check(is_email(email), "email", "email", "write an address like ada@example.org")
    }

    fn decide(self, person: &Person) -> Result<Vec<PersonEvent>, PersonRefusal> {
        match (self, &person.team) {
            (Self::Join { .. }, Some(_)) => Err(PersonRefusal::Exists),
            (Self::Join { name, email, team, .. }, None) => {
                Ok(vec![PersonJoined { name, email, team }])
            }
            (Self::Move { .. }, None) => Err(PersonRefusal::NotFound),
            (Self::Move { team }, Some(now)) if *now == team => Ok(Vec::new()),
            (Self::Move { team }, Some(_)) => Ok(vec![PersonMoved { team }]),
        }
    }
}

/// Whether somebody may be called so: it stands in streams, cookies and URLs.
#[must_use]
pub fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

fn is_name(text: &str) -> bool {
    let fits = !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX;
    fits && !text.chars().any(char::is_control)
}

fn is_email(text: &str) -> bool {
    text.len() <= 254 && text.parse::<lettre::Address>().is_ok()
}
