//! `annals deliveries`: looking at them, retrying and skipping.

use annals::Inboxes;
use annals_api::{Attempt, Delivery, DeliveryHistory, Malformed, SkipRequest, delivery_id};
use annals_core::{DeliveryInfo, DeliveryState, SelectDeliveries};
use serde_json::json;

use crate::args::read_side::{
    DeliveriesWork, ListDeliveries, RetryDeliveries, ShowDelivery, SkipDeliveries,
};
use crate::failure::Failure;
use crate::output::{Output, Style, grouped, note, shown};

/// How many are counted before something is done to them.
const COUNTED_MAX: usize = 1_000;

pub(crate) async fn run(work: DeliveriesWork, mut output: Output) -> Result<(), Failure> {
    let both = match &work {
        DeliveriesWork::List(args) => &args.both,
        DeliveriesWork::Show(args) => &args.both,
        DeliveriesWork::Retry(args) => &args.both,
        DeliveriesWork::Skip(args) => &args.which.both,
    };
    let read_side = both.open_read_side().await?;
    let inboxes = Inboxes::over(read_side.queue());
    match &work {
        DeliveriesWork::List(args) => list(&inboxes, args, &mut output).await?,
        DeliveriesWork::Show(args) => show(&inboxes, args, &mut output).await?,
        DeliveriesWork::Retry(args) => retry(&inboxes, args, &mut output).await?,
        DeliveriesWork::Skip(args) => skip(&inboxes, args, &mut output).await?,
    }
    output.flush()?;
    read_side.close().await;
    Ok(())
}

async fn list(
    inboxes: &Inboxes,
    args: &ListDeliveries,
    output: &mut Output,
) -> Result<(), Failure> {
    let limit = args.limit as usize;
    let select = args.filter.which(None).select().map_err(wrong)?;
    let mut found = inboxes.deliveries(select, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    if found.is_empty() {
        note("there are no such deliveries");
    }
    for info in found {
        if output.is_json() {
            output.json(&Delivery::of(info))?;
        } else {
            output.line(&line(&info, output))?;
        }
    }
    if more {
        note(&format!("there are more than {limit}; narrow the list, or raise --limit"));
    }
    Ok(())
}

fn line(info: &DeliveryInfo, output: &Output) -> String {
    let state = stands(info.state);
    let state = match info.state {
        DeliveryState::Dead => output.styled(Style::Red, &format!("{state:<7}")),
        _ => format!("{state:<7}"),
    };
    let (id, event_type) = (shown(info.id.as_str()), shown(info.event.event_type.as_str()));
    let (position, stream) = (info.event.position, shown(info.event.stream.as_str()));
    let attempts = if info.attempts == 1 { "attempt" } else { "attempts" };
    let mut line = format!(
        "{position:>8}  {state}  {id}  {event_type} {stream}@{}  {} {attempts}",
        info.event.version, info.attempts
    );
    if let Some(error) = &info.last_error {
        line.push_str(&format!("  {}", shown(error)));
    }
    if let Some(reason) = &info.skipped {
        line.push_str(&format!("  skipped: {}", shown(reason)));
    }
    line
}

fn stands(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Taken => "taken",
        DeliveryState::Dead => "dead",
        DeliveryState::Done => "done",
        DeliveryState::Skipped => "skipped",
        _ => "other",
    }
}

async fn show(inboxes: &Inboxes, args: &ShowDelivery, output: &mut Output) -> Result<(), Failure> {
    let id = delivery_id(&args.id).map_err(wrong)?;
    let found = inboxes.deliveries(SelectDeliveries::one(id.clone()), 1).await?.pop();
    let Some(info) = found else {
        return Err(Failure::new(format!(
            "there is no delivery {}; `annals deliveries list` shows them, and those that were \
             made are forgotten after a while",
            shown(id.as_str())
        )));
    };
    let attempts: Vec<_> = inboxes.attempts(&id).await?.into_iter().map(Attempt::of).collect();
    if output.is_json() {
        return output.json(&DeliveryHistory { delivery: Delivery::of(info), attempts });
    }
    output.line(&line(&info, output))?;
    output.line(&format!("enqueued {}, due {}", info.enqueued_at, info.due_at))?;
    for attempt in &attempts {
        let outcome = attempt.error.as_deref().unwrap_or("made");
        let (number, at, outcome) = (attempt.number, attempt.at, shown(outcome));
        output.line(&format!("  attempt {number}  {at}  {:.3} s  {outcome}", attempt.seconds))?;
        if let Some(said) = &attempt.note {
            output.line(&format!("    answered: {}", shown(said)))?;
        }
    }
    if info.state == DeliveryState::Dead {
        let id = shown(id.as_str());
        note(&format!(
            "annals deliveries retry {id} tries it again; annals deliveries skip {id} --reason … \
             gives it up"
        ));
    }
    Ok(())
}

async fn retry(
    inboxes: &Inboxes,
    args: &RetryDeliveries,
    output: &mut Output,
) -> Result<(), Failure> {
    let select = meant(args, "retry")?;
    confirmed(inboxes, args, &select, "retried", |info| {
        info.state == DeliveryState::Dead || info.attempts > 0
    })
    .await?;
    let count = inboxes.retry(select).await?;
    if output.is_json() {
        return output.json(&json!({ "retried": count }));
    }
    output.line(&match count {
        0 => "no such delivery is dead or waits to be tried again: nothing was done".to_owned(),
        1 => "1 delivery is due now; an application that runs its inbox makes it".to_owned(),
        _ => format!(
            "{} deliveries are due now; applications that run their inboxes make them",
            grouped(count)
        ),
    })
}

async fn skip(
    inboxes: &Inboxes,
    args: &SkipDeliveries,
    output: &mut Output,
) -> Result<(), Failure> {
    let select = meant(&args.which, "skip")?;
    let request = SkipRequest {
        deliveries: args.which.filter.which(args.which.id.as_deref()),
        all: args.which.all,
        reason: args.reason.clone(),
    };
    request.select().map_err(wrong)?;
    confirmed(inboxes, &args.which, &select, "skipped", |_| true).await?;
    let count = inboxes.skip(select, &args.reason).await?;
    if output.is_json() {
        return output.json(&json!({ "skipped": count }));
    }
    output.line(&match count {
        0 => "no such delivery waits or is dead: nothing was done".to_owned(),
        1 => "1 delivery is given up; what waited behind it goes on".to_owned(),
        _ => {
            format!("{} deliveries are given up; what waited behind them goes on", grouped(count))
        }
    })
}

fn meant(args: &RetryDeliveries, doing: &str) -> Result<SelectDeliveries, Failure> {
    let which = args.filter.which(args.id.as_deref());
    if which.is_all() && !args.all {
        return Err(Failure::invalid(format!(
            "this would {doing} every delivery; say which with an id, --inbox, --state, --type, \
             --stream or --recipient, or mean it with --all"
        )));
    }
    which.select().map_err(wrong)
}

/// Without `--yes`, more than a delivery that was named is only counted.
async fn confirmed(
    inboxes: &Inboxes,
    args: &RetryDeliveries,
    select: &SelectDeliveries,
    done: &str,
    concerns: impl Fn(&DeliveryInfo) -> bool,
) -> Result<(), Failure> {
    if args.yes || args.id.is_some() {
        return Ok(());
    }
    let mut count = 0;
    for state in [DeliveryState::Dead, DeliveryState::Waiting] {
        if select.state.is_none_or(|asked| asked == state) {
            let found = inboxes.deliveries(select.clone().state(state), COUNTED_MAX).await?;
            count += found.iter().filter(|info| concerns(info)).count();
        }
    }
    let more = if count >= COUNTED_MAX { " or more" } else { "" };
    let deliveries = if count == 1 { "delivery" } else { "deliveries" };
    Err(Failure::invalid(format!(
        "{count}{more} {deliveries} would be {done}; look at them with `annals deliveries list`, \
         and repeat this with --yes"
    )))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn wrong(error: Malformed) -> Failure {
    Failure::invalid(error.to_string())
}
