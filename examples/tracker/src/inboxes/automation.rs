//! What people's rules can do.

use annals::{Annals, Fault, ReactError, types};
use annals_rules::{Actions, Because, Models, Rules};
use serde::Deserialize;

use crate::issue::{Issue, IssueCommand, IssueEvent, IssueRefusal};
use crate::read_models::{Issues, People};

/// The names of what rules can do, each with the argument it wants besides the issue.
pub const ACTIONS: [(&str, &str); 2] = [("assign", "to"), ("comment", "text")];

#[derive(Deserialize)]
struct Assign {
    issue: String,
    to: String,
}

#[derive(Deserialize)]
struct Comment {
    issue: String,
    text: String,
}

/// The rules of a tracker, which look at what happens to issues.
///
/// # Errors
/// As [`Rules::new`].
pub fn rules(
    annals: &Annals,
    issues: annals::ReadModel<Issues>,
    people: annals::ReadModel<People>,
) -> Result<Rules, Fault> {
    let (assigning, commenting) = (annals.clone(), annals.clone());
    let actions = Actions::new()
        .on("assign", move |Assign { issue, to }: Assign, because: Because| {
            let annals = assigning.clone();
            async move {
                if !crate::tracker::has_joined(&annals, &to).await? {
                    return Err(ReactError::permanent(IssueRefusal::Nobody(to)));
                }
                because.execute::<Issue, _>(&annals, issue, IssueCommand::Assign { to }).await
            }
        })
        .on("comment", move |Comment { issue, text }: Comment, because: Because| {
            let annals = commenting.clone();
            async move {
                because.execute::<Issue, _>(&annals, issue, IssueCommand::Comment { text }).await
            }
        });
    Ok(Rules::new(annals.clone(), actions)?
        .triggered_by(types!(IssueEvent))
        .with_models(Models::new().with("issues", issues).with("people", people)))
}
