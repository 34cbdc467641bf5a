//! A small cache of folds, in this process.
//!
//! A fold is used only after the stream was seen to hold the very event that it ends with, and
//! after everything behind it was folded as well. So whatever other processes do meanwhile, what
//! is loaded through the cache is what is loaded without.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex};

use annals_core::StreamId;
use quick_cache::sync::Cache as QuickCache;

use crate::load::Loaded;
use crate::{Aggregate, Annals};

type Key = (TypeId, StreamId);
/// A `Mutex<Loaded<A>>`.
type Fold = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Cache(Arc<QuickCache<Key, Fold>>);

impl Annals {
    /// The same, keeping the folds of up to so many aggregates in memory, of those that are
    /// marked `#[aggregate(cache)]`.
    ///
    /// Loading one of them reads what its stream has gained since, and one event more, by which
    /// it is seen that the stream is still the same.
    #[must_use]
    pub fn with_cache(mut self, aggregates_max: usize) -> Self {
        self.cache = Some(Cache(Arc::new(QuickCache::new(aggregates_max))));
        self
    }

    /// The fold of a stream in the cache, not yet seen to be of this log.
    pub(crate) fn cached<A: Aggregate>(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let (cache, clone) = self.cache.as_ref().zip(A::CACHE)?;
        let fold = cache.0.get(&(TypeId::of::<A>(), stream.clone()))?;
        let loaded = fold.downcast_ref::<Mutex<Loaded<A>>>()?.lock().ok()?;
        Some(loaded.copy(clone))
    }

    pub(crate) fn cache<A: Aggregate>(&self, loaded: &Loaded<A>) {
        let Some((cache, clone)) = self.cache.as_ref().zip(A::CACHE) else { return };
        let key = (TypeId::of::<A>(), loaded.stream.clone());
        let newer = cache.0.get(&key).is_some_and(|fold| {
            let known = fold.downcast_ref::<Mutex<Loaded<A>>>().and_then(|known| known.lock().ok());
            known.is_some_and(|known| known.version > loaded.version)
        });
        if !newer {
            cache.0.insert(key, Arc::new(Mutex::new(loaded.copy(clone))));
        }
    }

    /// Forgets all folds.
    pub(crate) fn uncache_all(&self) {
        if let Some(cache) = &self.cache {
            cache.0.clear();
        }
    }

    /// Forgets the fold of a stream, because it turned out to be of another past.
    pub(crate) fn uncache<A: Aggregate>(&self, stream: &StreamId) {
        if let Some(cache) = &self.cache {
            cache.0.remove(&(TypeId::of::<A>(), stream.clone()));
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} of {})", self.0.len(), self.0.capacity())
    }
}
