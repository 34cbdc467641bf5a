//! A read model that can be searched, as a projection.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use annals::{Event, Projector};
use annals_core::error::Chain;
use annals_core::{
    Activation, CheckpointStore, EventType, Fault, Generation, PoisonEvent, ProjectError, Query,
    QueryItem, ReadSideError, RecordedEvent, Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;

use crate::{Edit, EventEdits, Generations, Hits, Search, SearchError, SearchIndex};

/// How many generations before the active one are removed when it becomes active: the one that
/// was active until then, and what crashes have left behind.
const REMOVED_MAX: u32 = 8;

/// A read model that can be searched: what events make of documents.
///
/// [`edits`](Self::edits) is pure: the same events make the same documents. What it says of one
/// document need not come from one stream, and the projection may run in any number of
/// [partitions](annals::Projecting::partitions) all the same: documents do not depend on the order
/// in which their edits arrive.
///
/// ```
/// use annals::{Annals, Event, MemoryReadSide, MemoryStore, RecordedEvent};
/// # use annals::{EventStoreExt, ExpectedVersion, StreamId};
/// use annals_search::{
///     Edit, Fields, MemoryGenerations, Search, SearchModel, SearchProjection,
/// };
/// use serde_json::json;
/// use std::time::Duration;
///
/// #[derive(Debug, Event)]
/// enum ProductEvent {
///     ProductAdded { product_id: String, name: String, price: u64 },
///     ProductPriceChanged { product_id: String, new_price: u64 },
///     ProductRemoved { product_id: String },
/// }
/// use ProductEvent::*;
///
/// struct ProductCatalog;
///
/// impl SearchProjection for ProductCatalog {
///     type Event = ProductEvent;
///     const NAME: &'static str = "products";
///
///     fn edits(&self, event: &ProductEvent, _: &RecordedEvent) -> Vec<Edit> {
///         vec![match event {
///             ProductAdded { product_id, name, price } => {
///                 Edit::index(product_id, json!({"name": name, "price": price}))
///             }
///             ProductPriceChanged { product_id, new_price } => {
///                 Edit::update(product_id, json!({"price": new_price}))
///             }
///             ProductRemoved { product_id } => Edit::delete(product_id),
///         }]
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let shop = Annals::new(store.clone());
/// // In memory here; `SqliteGenerations`, `PostgresGenerations` and `ElasticsearchGenerations`
/// // take its place without another word.
/// let products = MemoryGenerations::new(Fields::new().text("name"));
/// let catalog = SearchModel::new(ProductCatalog, products, MemoryReadSide::new());
/// let running = shop.project(catalog.clone()).start();
///
/// let events = [
///     ProductAdded { product_id: "1".into(), name: "Red shoe".into(), price: 80 },
///     ProductAdded { product_id: "2".into(), name: "Blue shoe".into(), price: 70 },
///     ProductPriceChanged { product_id: "1".into(), new_price: 60 },
///     ProductRemoved { product_id: "2".into() },
/// ];
/// let events = events.iter().map(Event::encode).collect::<Result<Vec<_>, _>>()?;
/// let stream = StreamId::new("catalog-1")?;
/// let receipt = store.append_to(stream, ExpectedVersion::Any, events).await?;
///
/// running.wait_for(receipt.last_position, Duration::from_secs(5)).await?;
/// let found = catalog.search(&Search::new("sho").prefix()).await?;
/// assert_eq!(found.hits.len(), 1);
/// assert_eq!(found.hits[0].document, json!({"name": "Red shoe", "price": 60}));
/// running.stop().await;
/// # Ok(()) }
/// ```
pub trait SearchProjection: Send + Sync + 'static {
    /// The events that it is made of.
    type Event: Event + Sync;

    /// What its checkpoint is kept under.
    const NAME: &'static str;

    /// To be counted up whenever the same events make other documents, or other fields can be
    /// searched: what was made by the older version is rebuilt then, when that is
    /// [asked for](annals::Projecting::rebuilding_new_versions).
    const VERSION: u32 = 1;

    /// What becomes of documents because of an event.
    fn edits(&self, event: &Self::Event, recorded: &RecordedEvent) -> Vec<Edit>;

    /// Which events it wants to see, of the types of [`Event`](Self::Event): unless said
    /// otherwise all of them.
    fn query(&self) -> Query {
        let types = Self::Event::SHAPES.iter().map(|shape| EventType::from_static(shape.name));
        Query::of(QueryItem::new().types(types))
    }
}

/// A [`SearchProjection`], the generations of its index, and its checkpoints. Cheap to clone.
///
/// It is what [`Annals::project`](annals::Annals::project) runs, and where one searches. An event
/// is applied at least once, and every time after the first changes nothing. An event whose
/// document the index refuses is poison:
/// [`Projecting::on_poison`](annals::Projecting::on_poison) says what is done about it. Events
/// behind it may be in the index before that is decided.
pub struct SearchModel<P> {
    kept: Arc<Kept<P>>,
}

struct Kept<P> {
    projection: P,
    name: SubscriberName,
    generations: Box<dyn Generations>,
    checkpoints: Arc<dyn CheckpointStore>,
    opened: Mutex<HashMap<Generation, Arc<dyn SearchIndex>>>,
}

impl<P: SearchProjection> SearchModel<P> {
    /// `projection`, with its documents in `generations` and its checkpoint in `checkpoints`.
    ///
    /// # Panics
    /// When [`SearchProjection::NAME`] is not a valid [`SubscriberName`]: a mistake in the program.
    pub fn new(
        projection: P,
        generations: impl Generations + 'static,
        checkpoints: impl CheckpointStore + 'static,
    ) -> Self {
        let kept = Kept {
            projection,
            name: SubscriberName::from_static(P::NAME),
            generations: Box::new(generations),
            checkpoints: Arc::new(checkpoints),
            opened: Mutex::default(),
        };
        Self { kept: Arc::new(kept) }
    }

    /// Searches the generation that is active now. A projection that never ran has nothing to find.
    ///
    /// # Errors
    /// When the search is beyond its limits, or the index or the checkpoints are not available.
    pub async fn search(&self, search: &Search) -> Result<Hits, SearchError> {
        let Some(generation) = self.active().await? else { return Ok(Hits::default()) };
        let outcome = self.opened(generation).await?.search(search).await;
        if outcome.is_err() {
            // It may just have been replaced.
            let now = self.active().await?.filter(|active| *active != generation);
            if let Some(generation) = now {
                return self.opened(generation).await?.search(search).await;
            }
        }
        outcome
    }

    /// The index of the generation that is active now, if the projection ever ran: to look at
    /// single documents, or to make searches find everything at once in a test.
    ///
    /// # Errors
    /// When the index or the checkpoints are not available.
    pub async fn index(&self) -> Result<Option<Arc<dyn SearchIndex>>, SearchError> {
        match self.active().await? {
            Some(generation) => self.opened(generation).await.map(Some),
            None => Ok(None),
        }
    }

    async fn active(&self) -> Result<Option<Generation>, SearchError> {
        let info = self.kept.checkpoints.subscriber(&self.kept.name).await;
        let info = info.map_err(|error| {
            SearchError::Unavailable(Fault::because("asking which generation is active", error))
        })?;
        Ok(info.and_then(|info| info.active().map(|active| active.generation)))
    }

    /// Points at the generation that is active, also when another became that meanwhile.
    async fn point(&self) -> Result<(), SearchError> {
        let mut pointed = None;
        loop {
            let active = self.active().await?;
            match active.filter(|_| active != pointed) {
                Some(generation) => self.kept.generations.point(generation).await?,
                None => return Ok(()),
            }
            pointed = active;
        }
    }

    async fn opened(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let opened = || self.kept.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = opened().get(&generation) {
            return Ok(Arc::clone(index));
        }
        let index = self.kept.generations.open(generation).await?;
        opened().insert(generation, Arc::clone(&index));
        Ok(index)
    }

    async fn remove(&self, generation: Generation) -> Result<(), ProjectError> {
        self.kept.opened.lock().unwrap_or_else(PoisonError::into_inner).remove(&generation);
        self.kept.generations.remove(generation).await.map_err(unavailable)
    }

    fn edits(&self, events: &[RecordedEvent]) -> Result<Vec<EventEdits>, PoisonEvent> {
        let of_one = |recorded: &RecordedEvent| {
            let events =
                P::Event::decode(recorded).map_err(|error| PoisonEvent::new(recorded, error))?;
            let edits = events.flat_map(|event| self.kept.projection.edits(&event, recorded));
            Ok(EventEdits { position: recorded.position, edits: edits.collect() })
        };
        events.iter().map(of_one).collect()
    }
}

#[async_trait]
impl<P: SearchProjection> Projector for SearchModel<P> {
    fn name(&self) -> &SubscriberName {
        &self.kept.name
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn query(&self) -> Query {
        P::Event::upcasters().as_stored(&self.kept.projection.query())
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.kept.checkpoints)
    }

    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        self.opened(generation).await.map_err(unavailable)?;
        // The first one is active without having taken anybody's place; and who made another one
        // active may not have come to pointing at it.
        if self.active().await.map_err(unavailable)? == Some(generation) {
            self.point().await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        let edits = self.edits(&stretch.events)?;
        let index = self.opened(stretch.advance.lease.generation).await.map_err(unavailable)?;
        match index.apply(&edits).await {
            Ok(()) => Ok(self.kept.checkpoints.advance(&stretch.advance).await?),
            Err(SearchError::Refused(refusals)) => {
                let position = refusals.first().position;
                let event = stretch.events.iter().find(|event| event.position == position);
                let event = event.expect("every edit is of an event of the stretch");
                Err(PoisonEvent::new(event, SearchError::Refused(refusals)).into())
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        let kept = &self.kept;
        let activation = kept.checkpoints.activate(&kept.name, generation, now).await?;
        if activation == Activation::Behind {
            return Ok(activation);
        }
        self.point().await.map_err(unavailable)?;
        let first = generation.get().saturating_sub(REMOVED_MAX).max(Generation::FIRST.get());
        for older in first..generation.get() {
            // It is of no use to anybody; the next rebuild tries again.
            if let Err(error) = self.remove(Generation::new(older)).await {
                let error = Chain(&error).to_string();
                tracing::warn!(projection = %self.kept.name, older, error, "an older index is left");
            }
        }
        Ok(activation)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.kept.checkpoints.discard(&self.kept.name, generation).await?;
        self.remove(generation).await
    }
}

/// The runner tries again after this error, and says why.
fn unavailable(error: SearchError) -> ProjectError {
    ReadSideError::Unavailable(Fault::because("writing to the search index", error)).into()
}

impl<P> Clone for SearchModel<P> {
    fn clone(&self) -> Self {
        Self { kept: Arc::clone(&self.kept) }
    }
}

impl<P> fmt::Debug for SearchModel<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kept { name, generations, checkpoints, .. } = &*self.kept;
        let mut model = f.debug_struct("SearchModel");
        model.field("name", name).field("generations", generations);
        model.field("checkpoints", checkpoints).finish_non_exhaustive()
    }
}
