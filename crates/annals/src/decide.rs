//! Deciding over a query: validate, read, authorise, decide, append; on conflict read what came
//! since and decide again.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::{Append, ExpectedVersion, Position, Receipt};
use tracing::{Instrument, debug_span};

use crate::decision::boundary::Boundary;
use crate::error::{ExecuteError, LoadError};
use crate::event::encode;
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, done_in, how_methods};
use crate::execute::name_of;
use crate::refusal::Refused;
use crate::{Annals, Context, Decision};

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
    /// Under an [id](Decide::id) it is made once. What is recognised is the id and which decision
    /// it is, and not what is in it: give no two requests the same id.
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
        let context = self.how.context.take();
        done_in(context, self.run())
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
        (Outcome::Repeated(receipt, _), _) => {
            let mut boundary = Boundary::of(decision.model()).map_err(LoadError::from)?;
            // Whoever might decide it then may know of it now.
            let before = Position::new(receipt.first_position.get().saturating_sub(1));
            boundary.catch_up(annals.store(), before).await?;
            decision.authorise(&boundary.models, &Context::current())?;
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

    fn what(&self) -> String {
        name_of::<D>().to_owned()
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<D::Error>> {
        let decision = self.decision;
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
            boundary.check(&append)?;
            let narrower = decision.validation_query(models);
            append.conditions.extend(boundary.unchanged(narrower.as_ref()));
        }
        self.boundary = Some(boundary);
        Ok(append)
    }
}

/// The events, stream by stream.
fn append_of<D: Decision>(
    decision: &D,
    events: &[D::Event],
) -> Result<Append, ExecuteError<D::Error>> {
    let mut append = Append::default();
    for event in events {
        let stream = decision.stream(event).map_err(LoadError::from)?;
        let (encoded, _) = encode(event, &stream)?;
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
