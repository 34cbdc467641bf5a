//! `annals projections`: how they stand, and telling them what to do.

mod watch;

use annals::{Annals, ProjectionStatus, Projections, Rebuild};
use annals_api::{Deleted, ParkedEvent};
use annals_core::{GenerationInfo, PartitionInfo, Position, Role, SubscriberName};
use annals_server::projection_of;

use crate::args::read_side::{self, Both, ProjectionsWork};
use crate::deleting::{self, counted, unconfirmed};
use crate::failure::Failure;
use crate::output::{Output, Style, grouped, note, shown};

pub(crate) async fn run(work: ProjectionsWork, mut output: Output) -> Result<(), Failure> {
    let both = both_of(&work);
    let opened = both.store.location.open_existing().await?;
    let read_side = both.open_read_side().await?;
    let projections = Projections::over(Annals::new(opened.store()), read_side.queue());
    match &work {
        ProjectionsWork::List(_) => list(&projections, &mut output).await?,
        ProjectionsWork::Show(args) if args.watch => {
            watch::rebuild(&projections, &args.one.name, &mut output).await?;
        }
        ProjectionsWork::Show(args) => show(&projections, &args.one.name, &mut output).await?,
        ProjectionsWork::Parked(args) => parked(&projections, args, &mut output).await?,
        ProjectionsWork::Pause(args) => {
            projections.pause(&args.name).await?;
            let text = format!("{} pauses, in every process, until it is resumed", args.name);
            told(&projections, &args.name, &text, &mut output).await?;
        }
        ProjectionsWork::Resume(args) => {
            projections.resume(&args.name).await?;
            let text = format!("{} goes on, wherever an application runs it", args.name);
            told(&projections, &args.name, &text, &mut output).await?;
        }
        ProjectionsWork::Cancel(args) => {
            let text = match projections.cancel_rebuild(&args.name).await? {
                Some(generation) => format!("generation {generation} of {} is given up", args.name),
                None => format!("no rebuild of {} is under way: nothing was done", args.name),
            };
            told(&projections, &args.name, &text, &mut output).await?;
        }
        ProjectionsWork::Delete(args) => delete(&projections, args, &mut output).await?,
        ProjectionsWork::Rebuild(args) => rebuild(&projections, args, &mut output).await?,
    }
    output.flush()?;
    read_side.close().await;
    opened.close().await;
    Ok(())
}

fn both_of(work: &ProjectionsWork) -> &Both {
    match work {
        ProjectionsWork::List(both) => both,
        ProjectionsWork::Cancel(one)
        | ProjectionsWork::Pause(one)
        | ProjectionsWork::Resume(one) => &one.both,
        ProjectionsWork::Delete(args) => &args.one.both,
        ProjectionsWork::Parked(args) => &args.one.both,
        ProjectionsWork::Rebuild(args) => &args.one.both,
        ProjectionsWork::Show(args) => &args.one.both,
    }
}

async fn list(projections: &Projections, output: &mut Output) -> Result<(), Failure> {
    let statuses = projections.list().await?;
    if statuses.is_empty() {
        note("there are no projections here; one becomes known when an application first runs it");
    }
    for status in &statuses {
        if output.is_json() {
            output.json(&projection_of(status))?;
            continue;
        }
        let name = format!("{:<24}", shown(status.info.subscriber.as_str()).to_string());
        let state = state(status, output);
        output.line(&format!("{name}  {state}  {}", behind(status)))?;
    }
    Ok(())
}

/// How it stands in one word; what went wrong is told part by part.
fn state(status: &ProjectionStatus, output: &Output) -> String {
    let state = projection_of(status).state;
    let padded = format!("{state:<10}");
    match state {
        "failed" => output.styled(Style::Red, &padded),
        "paused" | "rebuilding" => output.styled(Style::Yellow, &padded),
        _ => padded,
    }
}

/// How far it is behind. Which events concern it, only the application knows.
fn behind(status: &ProjectionStatus) -> String {
    let position = status.info.active().map_or(Position::START, GenerationInfo::position);
    match status.lag.events {
        0 => format!("at position {position}, nothing behind the log"),
        _ => format!("at position {position}, behind the log by {}, all types counted", status.lag),
    }
}

async fn show(
    projections: &Projections,
    name: &SubscriberName,
    output: &mut Output,
) -> Result<(), Failure> {
    let status = projections.status(name).await?;
    if output.is_json() {
        return output.json(&projection_of(&status));
    }
    let heading = output.styled(Style::Bold, &shown(name.as_str()).to_string());
    let state = state(&status, output);
    output.line(&format!("{heading}  {}  {}", state.trim_end(), behind(&status)))?;
    for generation in &status.info.generations {
        let role = if generation.role == Role::Building { "being built" } else { "read" };
        output.line(&format!(
            "generation {} of version {}, {role}, begun {}",
            generation.generation, generation.version, generation.begun_at
        ))?;
        for part in &generation.partitions {
            output.line(&line(part, output))?;
        }
    }
    if let Some(progress) = &status.rebuild {
        output.line(&watch::line(progress))?;
    }
    Ok(())
}

fn line(part: &PartitionInfo, output: &Output) -> String {
    let owner = match &part.owner {
        Some((owner, until)) => format!("{} until {until}", shown(owner)),
        None => "nobody works it".to_owned(),
    };
    let (events, parked) = (grouped(part.events), grouped(part.parked));
    let mut line = format!(
        "  part {} of {}  position {}  {events} events, {parked} parked, moved {}  {owner}",
        part.partition.index + 1,
        part.partition.count,
        part.position,
        part.moved_at
    );
    if let Some(failure) = &part.failure {
        let event = failure
            .event
            .map_or(String::new(), |(position, id)| format!(" at event {id}, position {position}"));
        let failed = format!("failed {}{event}: {}", failure.at, shown(&failure.error));
        line.push_str(&format!("\n    {}", output.styled(Style::Red, &failed)));
    }
    line
}

async fn parked(
    projections: &Projections,
    args: &read_side::ListParked,
    output: &mut Output,
) -> Result<(), Failure> {
    let events = projections.parked(&args.one.name, args.limit as usize).await?;
    if events.is_empty() {
        note(&format!("{} has put no events aside", args.one.name));
    }
    for event in &events {
        if output.is_json() {
            output.json(&ParkedEvent::of(event))?;
        } else {
            let (position, at, error) = (event.position, event.at, shown(&event.error));
            output.line(&format!("{position:>8}  {}  {at}  {error}", event.event))?;
        }
    }
    Ok(())
}

async fn rebuild(
    projections: &Projections,
    args: &read_side::RebuildProjection,
    output: &mut Output,
) -> Result<(), Failure> {
    let name = &args.one.name;
    let mut rebuild = Rebuild::new();
    if let Some(partitions) = args.partitions {
        rebuild = rebuild.partitions(partitions);
    }
    if let Some(after) = args.after {
        rebuild = rebuild.after(Position::new(after));
    }
    let generation = projections.rebuild(name, rebuild).await?;
    note(&format!(
        "generation {generation} of {name} begins; an application that runs {name} does the work, \
         and the rows that are read stay until it has caught up"
    ));
    if args.watch {
        return watch::rebuild(projections, name, output).await;
    }
    if output.is_json() {
        return output.json(&projection_of(&projections.status(name).await?));
    }
    output.line(&format!("annals projections show {name} --watch follows it"))
}

async fn delete(
    projections: &Projections,
    args: &read_side::DeleteSubscriber,
    output: &mut Output,
) -> Result<(), Failure> {
    let name = &args.one.name;
    if !args.yes {
        let status = projections.status(name).await?;
        let parts = status.info.generations.iter().flat_map(|generation| &generation.partitions);
        let parked = counted(parts.map(|part| part.parked).sum(), "parked event", "parked events");
        let position = status.info.active().map_or(Position::START, GenerationInfo::position);
        return Err(unconfirmed(&format!(
            "{name}, its checkpoint at position {position}, {parked}, all of its rows and its \
             tables"
        )));
    }
    let deleted = projections.delete(name).await?;
    deleting::tell(&Deleted::of(name.clone(), deleted), output)
}

/// What was done, or how it stands now in JSON.
async fn told(
    projections: &Projections,
    name: &SubscriberName,
    text: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&projection_of(&projections.status(name).await?));
    }
    output.line(text)
}
