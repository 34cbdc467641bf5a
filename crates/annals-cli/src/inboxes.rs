//! `annals inboxes`: how they stand, and telling them what to do.

use annals::Inboxes;
use annals::inbox::InboxStatus;
use annals_api::Deleted;
use annals_core::{SubscriberName, SubscriberState};
use annals_server::inbox_of;

use crate::args::read_side::{DeleteSubscriber, InboxesWork, OneSubscriber};
use crate::deleting::{self, unconfirmed};
use crate::failure::Failure;
use crate::output::{Output, Style, grouped, note, shown};

pub(crate) async fn run(work: InboxesWork, mut output: Output) -> Result<(), Failure> {
    let both = match &work {
        InboxesWork::List(both) => both,
        InboxesWork::Delete(args) => &args.one.both,
        InboxesWork::Disable(one)
        | InboxesWork::Enable(one)
        | InboxesWork::Pause(one)
        | InboxesWork::Resume(one) => &one.both,
    };
    let read_side = both.open_read_side().await?;
    let inboxes = Inboxes::over(read_side.queue());
    match &work {
        InboxesWork::List(_) => list(&inboxes, &mut output).await?,
        InboxesWork::Delete(args) => delete(&inboxes, args, &mut output).await?,
        InboxesWork::Disable(one) => {
            tell(&inboxes, one, SubscriberState::Disabled, &mut output).await?;
        }
        InboxesWork::Pause(one) => {
            tell(&inboxes, one, SubscriberState::Paused, &mut output).await?;
        }
        InboxesWork::Enable(one) | InboxesWork::Resume(one) => {
            tell(&inboxes, one, SubscriberState::Running, &mut output).await?;
        }
    }
    output.flush()?;
    read_side.close().await;
    Ok(())
}

async fn list(inboxes: &Inboxes, output: &mut Output) -> Result<(), Failure> {
    let statuses = inboxes.status().await?;
    if statuses.is_empty() {
        note("there are no inboxes here; one becomes known when an application first runs it");
    }
    for status in statuses {
        if output.is_json() {
            output.json(&inbox_of(status))?;
            continue;
        }
        output.line(&line(&status, output))?;
    }
    Ok(())
}

fn line(status: &InboxStatus, output: &Output) -> String {
    let InboxStatus { waiting, retrying, taken, dead, position, .. } = status;
    let name = shown(status.inbox.as_str()).to_string();
    let state = match status.state {
        _ if status.failure.is_some() => output.styled(Style::Red, "failed    "),
        SubscriberState::Running => "running   ".to_owned(),
        SubscriberState::Paused => output.styled(Style::Yellow, "paused    "),
        _ => output.styled(Style::Yellow, "disabled  "),
    };
    let [waiting, retrying, taken] = [waiting, retrying, taken].map(|count| grouped(*count));
    let letters = format!("{} dead", grouped(*dead));
    let letters = if *dead > 0 { output.styled(Style::Red, &letters) } else { letters };
    let mut line = format!(
        "{name:<24}  {state}  {waiting} waiting, {retrying} to be tried again, {taken} taken, \
         {letters}; the log was read up to {position}"
    );
    if let Some(oldest) = status.oldest {
        line.push_str(&format!(", the oldest waits since {oldest}"));
    }
    if let Some(failure) = &status.failure {
        line.push_str(&format!("\n    failed {}: {}", failure.at, shown(&failure.error)));
    }
    line
}

async fn tell(
    inboxes: &Inboxes,
    one: &OneSubscriber,
    state: SubscriberState,
    output: &mut Output,
) -> Result<(), Failure> {
    let name = &one.name;
    status_of(inboxes, name).await?;
    let done = match state {
        SubscriberState::Paused => {
            inboxes.pause(name.as_str()).await?;
            format!("{name} makes no deliveries until it is resumed; they queue up meanwhile")
        }
        SubscriberState::Disabled => {
            inboxes.disable(name.as_str()).await?;
            format!(
                "{name} takes nothing new: events from now on are never delivered to it, until it \
                 is enabled"
            )
        }
        _ => {
            inboxes.resume(name.as_str()).await?;
            format!("{name} goes on, wherever an application runs it")
        }
    };
    if output.is_json() {
        return output.json(&inbox_of(status_of(inboxes, name).await?));
    }
    output.line(&done)
}

async fn delete(
    inboxes: &Inboxes,
    args: &DeleteSubscriber,
    output: &mut Output,
) -> Result<(), Failure> {
    let name = &args.one.name;
    if !args.yes {
        let InboxStatus { waiting, retrying, taken, dead, .. } = status_of(inboxes, name).await?;
        let open = waiting + retrying + taken + dead;
        return Err(unconfirmed(&format!(
            "{name} and all of its deliveries, {} of which are not made yet, {} being dead,",
            grouped(open),
            grouped(dead)
        )));
    }
    let deleted = inboxes.delete(name.as_str()).await?;
    deleting::tell(&Deleted::of(name.clone(), deleted), output)
}

/// How an inbox stands; a projection of its name is not meant.
async fn status_of(inboxes: &Inboxes, name: &SubscriberName) -> Result<InboxStatus, Failure> {
    let status = inboxes.status().await?.into_iter().find(|status| status.inbox == *name);
    status.ok_or_else(|| {
        Failure::new(format!(
            "there is no inbox {name} here; `annals inboxes list` shows them, and one becomes \
             known when an application first runs it"
        ))
    })
}
