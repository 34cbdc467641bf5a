//! Projections into places that share no transaction with a checkpoint: a search engine, a file,
//! another service.

use std::fmt;
use std::sync::Arc;

use annals_core::{
    Activation, CheckpointStore, Generation, ProjectError, Projector, Query, RecordedEvent,
    Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;

/// A place that events are written to, and that has no transaction to share with a checkpoint.
///
/// Events come in order, at least once: after a crash, or when the place did not answer, those
/// that were written last come again. Their positions are the same, and tell them apart: keep the
/// position with what is written, and pass over what is not behind it.
///
/// ```
/// use annals::{ProjectError, Query, RecordedEvent, Sink};
/// # use std::collections::HashMap;
/// # use std::sync::Mutex;
///
/// /// How often each type of event happened, elsewhere.
/// struct Counts(Mutex<HashMap<String, (u64, u64)>>);
///
/// #[async_trait::async_trait]
/// impl Sink for Counts {
///     const NAME: &'static str = "counts";
///
///     async fn write(&self, events: &[RecordedEvent]) -> Result<(), ProjectError> {
///         let mut counts = self.0.lock().unwrap();
///         for event in events {
///             let (count, position) = counts.entry(event.event_type.to_string()).or_default();
///             if event.position.get() > *position {
///                 (*count, *position) = (*count + 1, event.position.get());
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// What its checkpoint is kept under.
    const NAME: &'static str;

    /// To be counted up whenever the same events are written otherwise.
    const VERSION: u32 = 1;

    /// Which events are written; all unless said otherwise.
    fn query(&self) -> Query {
        Query::all()
    }

    /// Writes events, in their order.
    ///
    /// # Errors
    /// A [`PoisonEvent`](annals_core::PoisonEvent) for one that cannot be written however often it
    /// is tried; [`ReadSideError::Unavailable`](annals_core::ReadSideError::Unavailable) when the
    /// place does not answer, which leads to another attempt. What was written before an error
    /// is written again. A panic is an error, too: the events are then tried in smaller and smaller
    /// numbers, until the one is found that it is about.
    async fn write(&self, events: &[RecordedEvent]) -> Result<(), ProjectError>;
}

/// A [`Sink`] with its checkpoint, which [`Annals::project`](crate::Annals::project) runs.
///
/// A rebuild writes all events once more into the same place, which passes over what it has
/// already; empty the place first if it shall forget.
pub struct Sinking<S> {
    name: SubscriberName,
    sink: S,
    checkpoints: Arc<dyn CheckpointStore>,
}

impl<S: Sink> Sinking<S> {
    /// `sink`, with its checkpoint in `checkpoints`.
    ///
    /// # Panics
    /// When [`Sink::NAME`] is not a valid [`SubscriberName`]: a mistake in the program.
    pub fn new(sink: S, checkpoints: impl CheckpointStore + 'static) -> Self {
        let name = SubscriberName::from_static(S::NAME);
        Self { name, sink, checkpoints: Arc::new(checkpoints) }
    }
}

#[async_trait]
impl<S: Sink> Projector for Sinking<S> {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        S::VERSION
    }

    fn query(&self) -> Query {
        self.sink.query()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.checkpoints)
    }

    async fn prepare(&self, _: Generation) -> Result<(), ProjectError> {
        Ok(())
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        self.sink.write(&stretch.events).await?;
        Ok(self.checkpoints.advance(&stretch.advance).await?)
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        Ok(self.checkpoints.activate(&self.name, generation, now).await?)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        Ok(self.checkpoints.discard(&self.name, generation).await?)
    }
}

impl<S> fmt::Debug for Sinking<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinking")
            .field("name", &self.name)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}
