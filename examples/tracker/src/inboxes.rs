//! What happens outside because of what happens here, each in an inbox of its own: whatever
//! becomes of one of them, the others go on.

mod automation;
mod chat;
mod mail;
mod outgoing;
mod sync;

use annals::{Annals, LoadError, RecordedEvent};

pub use automation::{ACTIONS, rules};
pub use chat::Chat;
pub use mail::Mail;
pub use outgoing::{NoAuthorities, Outgoing, Secluded};
pub use sync::ExternalSync;

use crate::read_models::{IssueRow, Issues};

/// An issue as it was when this had just happened to it, however late it is asked: made of the
/// log, because a read model may be behind it, or ahead of it.
async fn issue_after(
    annals: &Annals,
    event: &RecordedEvent,
) -> Result<Option<IssueRow>, LoadError> {
    let issue = annals.live(Issues).of_stream(event.stream.clone()).up_to(event.position);
    Ok(issue.rows().await?.into_values().next())
}
