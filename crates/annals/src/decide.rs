//! Deciding over a query: validate, read, authorise, decide, append; on conflict read what came
//! since and decide again.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::{
    Append, AppendCondition, EventStore, EventType, ExpectedVersion, Position, Query, QueryItem,
    Read, Receipt, StreamId,
};
use futures_util::TryStreamExt;
use tracing::{Instrument, debug_span};

use crate::decision::boundary::Boundary;
use crate::error::{ExecuteError, LoadError};
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, how_methods};
use crate::execute::name_of;
use crate::refusal::Refused;
use crate::standing::{Marker, NOT_OPEN, RESTORED};
use crate::{Annals, Context, Decision, Event, NotOpen, Standing};

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided<M> {
    /// The models after the decision: what they were decided on, and then what was decided.
    pub model: M,
    /// How far the models were folded: the position of the last event of the decision, or of the
    /// last that was read when nothing was recorded. Hand it to a reader to read one's own write.
    pub position: Position,
    /// The receipt of the append; `None` when there was nothing to do and nothing was recorded.
    pub appended: Option<Receipt>,
    /// Whether it had been decided before, under the same id, and was recognised.
    pub repeated: bool,
}

/// A decision on its way; await it. Made by [`Annals::decide`].
#[must_use = "nothing is decided until it is awaited"]
pub struct Decide<'a, D> {
    annals: &'a Annals,
    decision: D,
    how: How,
}

impl Annals {
    /// Makes a [`Decision`]: reads what it depends on, lets it decide, and records the events,
    /// all or none, unless something it depends on has come meanwhile.
    ///
    /// Everything it depends on is read at once. If others were faster, only what came since is
    /// read, and it decides again, as often as the [retry policy](Self::with_retry) allows. A
    /// decision that nothing happens leaves the log alone.
    ///
    /// A stream that is closed, archived or deleted takes no events from a decision either;
    /// those that are in it are read, and so are those before the version that it was truncated
    /// at: a decision asks what has happened, wherever that stands.
    ///
    /// Under an [id](Decide::id) it is made once. What is recognised is the id alone: give no
    /// two decisions the same one.
    ///
    /// # Errors
    /// [`ExecuteError`], grouped by what to do about it.
    pub fn decide<D: Decision>(&self, decision: D) -> Decide<'_, D> {
        let how = How { retry: decision.retry(), ..How::default() };
        Decide { annals: self, decision, how }
    }
}

impl<D: Decision> Decide<'_, D> {
    how_methods!();

    async fn run(self) -> Result<Decided<D::Model>, ExecuteError<D::Error>> {
        let Self { annals, decision, how } = self;
        let span = debug_span!("decide", decision = name_of::<D>());
        let decided = async {
            let decided = decide(annals, &decision, &how).await;
            let refused = decided.as_ref().err();
            let what = Refused::Decision;
            let refusal = refused.and_then(|error| annals.refusal(what, name_of::<D>(), error));
            if let Some(refusal) = refusal {
                annals.record_refusal(refusal).await;
            }
            decided
        };
        decided.instrument(span).await
    }
}

impl<'a, D: Decision + 'a> IntoFuture for Decide<'a, D> {
    type Output = Result<Decided<D::Model>, ExecuteError<D::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        match self.how.context.take() {
            Some(context) => Box::pin(context.scope(self.run())),
            None => Box::pin(self.run()),
        }
    }
}

async fn decide<D: Decision>(
    annals: &Annals,
    decision: &D,
    how: &How,
) -> Result<Decided<D::Model>, ExecuteError<D::Error>> {
    decision.field_errors().into_result()?;
    let mut deciding = OnQuery { annals, decision, boundary: None };
    let outcome = annals.attempt(how, &mut deciding).await?;
    match (outcome, deciding.boundary) {
        (Outcome::Appended(receipt, append), Some(mut boundary)) => {
            boundary.append(&append, &receipt).map_err(LoadError::from)?;
            Ok(Decided::of(boundary, Some(receipt), false))
        }
        (Outcome::Repeated(receipt), _) => {
            let mut boundary = Boundary::of(decision.model()).map_err(LoadError::from)?;
            boundary.catch_up(annals.store(), receipt.last_position).await?;
            Ok(Decided::of(boundary, Some(receipt), true))
        }
        (_, boundary) => {
            let boundary = boundary.expect("what was decided was read before");
            Ok(Decided::of(boundary, None, false))
        }
    }
}

/// A decision being made.
struct OnQuery<'a, D: Decision> {
    annals: &'a Annals,
    decision: &'a D,
    boundary: Option<Boundary<D::Model>>,
}

impl<D: Decision> Deciding for OnQuery<'_, D> {
    type Refusal = D::Error;

    async fn decide(&mut self) -> Result<Append, ExecuteError<D::Error>> {
        let (decision, again) = (self.decision, self.boundary.is_some());
        let mut boundary = match self.boundary.take() {
            Some(boundary) => boundary,
            None => Boundary::of(decision.model()).map_err(LoadError::from)?,
        };
        boundary.catch_up(self.annals.store(), Position::END).await?;
        let Boundary { models, .. } = &boundary;
        decision.authorise(models, &Context::current())?;
        let events = decision.clone().decide(models).map_err(ExecuteError::Refused)?;
        let mut append = append_of(decision, &events)?;
        if !append.streams.is_empty() {
            let narrower = decision.validation_query(models);
            append.conditions.extend(boundary.unchanged(narrower.as_ref()));
            append.conditions.push(open(self.annals.store(), &append, again).await?);
        }
        self.boundary = Some(boundary);
        Ok(append)
    }

    /// Which streams those are is known only to the decision that was made then.
    fn concerns(&self, _: &StreamId) -> bool {
        true
    }
}

/// That every stream that is written to is open. Nearly every stream has always been, so that is
/// looked up only after a conflict.
async fn open<E>(
    store: &dyn EventStore,
    append: &Append,
    after_a_conflict: bool,
) -> Result<AppendCondition, ExecuteError<E>> {
    let streams: Vec<_> = append.streams.iter().map(|part| part.stream.clone()).collect();
    let since = if after_a_conflict { open_since(store, &streams).await? } else { Position::START };
    Ok(AppendCondition::none_match_after(about(&streams, &NOT_OPEN), since))
}

/// When the last of these streams was restored, if any was ever not open.
async fn open_since<E>(
    store: &dyn EventStore,
    streams: &[StreamId],
) -> Result<Position, ExecuteError<E>> {
    let [archived, closed, deleted] = NOT_OPEN;
    let markers = about(streams, &[archived, closed, deleted, RESTORED]);
    let mut markers = store.read(Read::query(markers));
    let (mut since, mut not_open) = (Position::START, Vec::<NotOpen>::new());
    while let Some(stored) = markers.try_next().await.map_err(LoadError::from)? {
        since = stored.position;
        if let Some(Marker::Stands(standing)) = Marker::of(&stored).map_err(LoadError::from)? {
            not_open.retain(|other| other.stream != stored.stream);
            if standing != Standing::Open {
                not_open.push(NotOpen { stream: stored.stream, standing });
            }
        }
    }
    not_open.into_iter().next().map_or(Ok(since), |first| Err(ExecuteError::Standing(first)))
}

/// The events of these types in these streams.
fn about(streams: &[StreamId], types: &[&'static str]) -> Query {
    /// So that many streams do not make an item with too many terms.
    const STREAMS_MAX: usize = 64;
    let items = streams.chunks(STREAMS_MAX).map(|streams| {
        let types = types.iter().map(|name| EventType::from_static(name));
        let item = QueryItem::new().types(types);
        streams.iter().cloned().fold(item, QueryItem::stream)
    });
    items.collect()
}

/// The events, stream by stream.
fn append_of<D: Decision>(
    decision: &D,
    events: &[D::Event],
) -> Result<Append, ExecuteError<D::Error>> {
    let mut append = Append::default();
    for event in events {
        let stream = decision.stream(event).map_err(LoadError::from)?;
        let encoded = event.encode()?;
        match append.streams.iter_mut().find(|part| part.stream == stream) {
            Some(part) => part.events.push(encoded),
            None => append = append.and_to(stream, ExpectedVersion::Any, [encoded]),
        }
    }
    Ok(append)
}

impl<M> Decided<M> {
    fn of(boundary: Boundary<M>, appended: Option<Receipt>, repeated: bool) -> Self {
        let Boundary { models, position, .. } = boundary;
        Self { model: models, position, appended, repeated }
    }
}

impl<D> fmt::Debug for Decide<'_, D> {
    /// Without the decision, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decide").field("decision", &name_of::<D>()).finish_non_exhaustive()
    }
}
