//! What can be typed about projections, inboxes and deliveries.

use annals_api::WhichDeliveries;
use annals_core::{DeliveryState, EventType, Partition, StreamId, SubscriberName};
use clap::{Args, Subcommand, ValueEnum};

use super::Store;
use crate::location::{Argument, Location};

#[derive(Debug, Args)]
pub(crate) struct ReadSide {
    /// Where the application keeps its checkpoints and deliveries, if not beside the events:
    /// sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE?schema=NAME, whose schema is annals_read
    /// unless said otherwise.
    #[arg(
        id = "read_side",
        long = "read-side",
        value_name = "LOCATION",
        env = "ANNALS_READ_SIDE",
        hide_env_values = true,
        value_parser = Argument
    )]
    pub(crate) location: Option<Location>,
}

/// The log, and what is derived from it.
#[derive(Debug, Args)]
pub(crate) struct Both {
    #[command(flatten)]
    pub(crate) store: Store,
    #[command(flatten)]
    pub(crate) read_side: ReadSide,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionsWork {
    /// Give up the rebuild that is under way.
    Cancel(OneSubscriber),
    /// Delete one that no application runs any more, with its rows and tables.
    Delete(DeleteSubscriber),
    /// Show how all of them stand, and how far they are behind.
    List(Both),
    /// Show the events that one has put aside, because it cannot apply them.
    Parked(ListParked),
    /// Tell one to wait, until it is resumed.
    Pause(OneSubscriber),
    /// Have the rows of one made anew, beside those that are read.
    Rebuild(RebuildProjection),
    /// Tell one to go on, also where it stopped at an event.
    Resume(OneSubscriber),
    /// Show how one stands, part by part.
    Show(ShowProjection),
}

/// `annals projections pause balances`
#[derive(Debug, Args)]
pub(crate) struct OneSubscriber {
    /// Its name.
    pub(crate) name: SubscriberName,
    #[command(flatten)]
    pub(crate) both: Both,
}

/// `annals projections delete balances --yes`
#[derive(Debug, Args)]
pub(crate) struct DeleteSubscriber {
    #[command(flatten)]
    pub(crate) one: OneSubscriber,
    /// Do it; without, only say what would go.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowProjection {
    #[command(flatten)]
    pub(crate) one: OneSubscriber,
    /// Follow its rebuild until that is done.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListParked {
    #[command(flatten)]
    pub(crate) one: OneSubscriber,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

/// `annals projections rebuild balances --partitions 2 --watch`
#[derive(Debug, Args)]
pub(crate) struct RebuildProjection {
    #[command(flatten)]
    pub(crate) one: OneSubscriber,
    /// In so many parts, which it keeps from then on; as many as now, when left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(Partition::COUNT_MAX)))]
    pub(crate) partitions: Option<u32>,
    /// Only from what came after this position, as if the log had begun there.
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// Follow it until it is done.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InboxesWork {
    /// Delete one that no application runs any more, with its deliveries.
    Delete(DeleteSubscriber),
    /// Take no new deliveries: events that come meanwhile are never delivered.
    Disable(OneSubscriber),
    /// Take deliveries again, of what comes from now on.
    Enable(OneSubscriber),
    /// Show how all of them stand.
    List(Both),
    /// Make no deliveries until it is resumed; they queue up.
    Pause(OneSubscriber),
    /// Go on after a pause, or after a failure.
    Resume(OneSubscriber),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesWork {
    /// List deliveries, by the position of their events.
    List(ListDeliveries),
    /// Have dead letters, and those that wait to be tried again, tried at once.
    Retry(RetryDeliveries),
    /// Show one delivery, with its attempts.
    Show(ShowDelivery),
    /// Give up deliveries that wait or are dead, and remember why.
    Skip(SkipDeliveries),
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only those of this inbox.
    #[arg(long)]
    pub(crate) inbox: Option<SubscriberName>,
    /// Only those that stand like this.
    #[arg(long)]
    pub(crate) state: Option<State>,
    /// Only those of events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// Only those of events in this stream.
    #[arg(long)]
    pub(crate) stream: Option<StreamId>,
    /// Only those to this recipient.
    #[arg(long)]
    pub(crate) recipient: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Waiting,
    Taken,
    Dead,
    Done,
    Skipped,
}

impl Filter {
    /// What it says in the words of the API, which checks it.
    pub(crate) fn which(&self, id: Option<&str>) -> WhichDeliveries {
        WhichDeliveries {
            id: id.map(str::to_owned),
            inbox: self.inbox.clone(),
            state: self.state.map(|state| match state {
                State::Waiting => DeliveryState::Waiting,
                State::Taken => DeliveryState::Taken,
                State::Dead => DeliveryState::Dead,
                State::Done => DeliveryState::Done,
                State::Skipped => DeliveryState::Skipped,
            }),
            event_type: self.event_type.clone(),
            stream: self.stream.clone(),
            recipient: self.recipient.clone(),
        }
    }
}

/// `annals deliveries list --inbox email --state dead`
#[derive(Debug, Args)]
pub(crate) struct ListDeliveries {
    #[command(flatten)]
    pub(crate) both: Both,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ShowDelivery {
    /// Its id, as `annals deliveries list` shows it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) both: Both,
}

/// `annals deliveries retry --inbox email --state dead --yes`
#[derive(Debug, Args)]
pub(crate) struct RetryDeliveries {
    /// Just this one.
    #[arg(conflicts_with_all = ["inbox", "state", "event_type", "stream", "recipient", "all"])]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) both: Both,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Every delivery of every inbox.
    #[arg(long, conflicts_with_all = ["inbox", "state", "event_type", "stream", "recipient"])]
    pub(crate) all: bool,
    /// Do it; without, only say how many it would be.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `annals deliveries skip email/0198… --reason "the address is gone"`
#[derive(Debug, Args)]
pub(crate) struct SkipDeliveries {
    #[command(flatten)]
    pub(crate) which: RetryDeliveries,
    /// Why, for whoever asks later.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}
