//! What a demo begins with: people in teams, issues in every status, and two rules.

use annals::{Context, ExecuteError};
use annals_rules::{Definition, RuleRefusal};
use serde_json::json;

use crate::issue::{IssueCommand, IssueRefusal, Status};
use crate::person::{PersonCommand, PersonRefusal};
use crate::tracker::Tracker;

const PEOPLE: [(&str, &str, &str); 4] = [
    ("ada", "Ada Lovelace", "engines"),
    ("grace", "Grace Hopper", "compilers"),
    ("linus", "Linus Pauling", "engines"),
    ("mary", "Mary Shelley", "support"),
];

/// The id, who created it, its title, what it says.
const ISSUES: [(&str, &str, &str, &str); 5] = [
    ("d0000001", "mary", "The engine stops on leap days", "On 29 February it stood still."),
    ("d0000002", "grace", "Compile times are too long", "A coffee is long enough."),
    ("d0000003", "mary", "urgent: customers cannot log in", "All of them, since this morning."),
    ("d0000004", "linus", "Write down how to release", ""),
    ("d0000005", "ada", "<b>Bold</b> titles look strange", "They are text, and stay text."),
];

/// Who does what to which issue, after it was created.
fn story() -> [(&'static str, &'static str, IssueCommand); 12] {
    let comment = |text: &str| IssueCommand::Comment { text: text.to_owned() };
    let assign = |to: &str| IssueCommand::Assign { to: to.to_owned() };
    let [first, second, third, fourth] = ["d0000001", "d0000002", "d0000003", "d0000004"];
    [
        ("grace", first, assign("ada")),
        ("ada", first, IssueCommand::Become(Status::InProgress)),
        ("ada", first, comment("It counts to 365.\nSomebody forgot a day.")),
        ("linus", first, comment("Twice, in fact.")),
        ("ada", first, IssueCommand::Become(Status::Resolved)),
        ("mary", first, IssueCommand::Become(Status::Closed)),
        ("mary", first, IssueCommand::Become(Status::Open)),
        ("grace", second, IssueCommand::Become(Status::InProgress)),
        ("ada", third, comment("I look at it.")),
        ("linus", fourth, IssueCommand::Become(Status::InProgress)),
        ("linus", fourth, IssueCommand::Become(Status::Resolved)),
        ("linus", fourth, IssueCommand::Become(Status::Closed)),
    ]
}

/// Why the demo was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// Somebody could not join.
    #[error("cannot record the demo's people")]
    People(#[from] ExecuteError<PersonRefusal>),
    /// Something could not happen to an issue.
    #[error("cannot record the demo's issues")]
    Issues(#[from] ExecuteError<IssueRefusal>),
    /// A rule could not be defined.
    #[error("cannot define the demo's rules")]
    Rules(#[from] ExecuteError<RuleRefusal>),
}

/// Loads it, once: what is there already is left as it is.
///
/// # Errors
/// [`NotLoaded`].
pub async fn load(tracker: &Tracker) -> Result<(), NotLoaded> {
    for (id, name, team) in PEOPLE {
        let command = PersonCommand::Join {
            id: id.to_owned(),
            name: name.to_owned(),
            email: format!("{id}@example.org"),
            team: team.to_owned(),
        };
        match tracker.change_person(id, command).await {
            Ok(_) | Err(ExecuteError::Refused(PersonRefusal::Exists)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    define_rules(tracker).await?;
    let created = ISSUES.map(|(id, who, title, description)| {
        let (title, description) = (title.to_owned(), description.to_owned());
        (who, id, IssueCommand::Create { title, description })
    });
    for (number, (who, id, command)) in created.into_iter().chain(story()).enumerate() {
        let context = Context::new().actor(who).reason("demo");
        // No form has such a key: theirs are UUIDs.
        let key = format!("demo {number}");
        context.scope(tracker.change(id, command, &key)).await?;
    }
    Ok(())
}

async fn define_rules(tracker: &Tracker) -> Result<(), NotLoaded> {
    let on_call = Definition::new("What is urgent goes to whoever is on call")
        .on("IssueCreated")
        .when("event.data.title.contains('urgent')")
        .then("assign", json!({ "issue": "=event.stream_id", "to": "ada" }));
    let thanks = Definition::new("Thank whoever closes an issue").on("IssueClosed").then(
        "comment",
        json!({ "issue": "=event.stream_id", "text": "='Thank you, ' + metadata.actor + '.'" }),
    );
    for (id, definition) in [("on_call", on_call), ("thanks", thanks)] {
        let defining = tracker.rules().define(id, definition);
        match Context::new().actor("mary").scope(defining).await {
            Ok(_) | Err(ExecuteError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
