//! The workers of a process: so many attempts at the same time, the urgent ones first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// So many attempts at the same time, or any number.
#[derive(Debug)]
pub(super) struct Places(Option<Mutex<Scarce>>);

#[derive(Debug)]
struct Scarce {
    free: usize,
    /// By priority, and then by who came first.
    waiting: BTreeMap<(Reverse<i32>, u64), oneshot::Sender<Place>>,
    came: u64,
}

/// The right to make one attempt, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Places>>);

impl Places {
    pub(super) fn new(max: Option<usize>) -> Self {
        let scarce = |free| Scarce { free, waiting: BTreeMap::new(), came: 0 };
        Self(max.map(|max| Mutex::new(scarce(max))))
    }

    /// Whether they are limited at all.
    pub(super) fn are_scarce(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for a place.
    pub(super) async fn get(self: &Arc<Self>, priority: i32) -> Place {
        let given = {
            let Some(mut scarce) = self.scarce() else { return Place(None) };
            if scarce.free > 0 {
                scarce.free -= 1;
                return Place(Some(Arc::clone(self)));
            }
            let (give, given) = oneshot::channel();
            scarce.came += 1;
            let key = (Reverse(priority), scarce.came);
            scarce.waiting.insert(key, give);
            given
        };
        given.await.expect("whoever waits is kept until it is given a place")
    }

    /// A place, if one is free.
    pub(super) fn try_get(self: &Arc<Self>) -> Option<Place> {
        let Some(mut scarce) = self.scarce() else { return Some(Place(None)) };
        scarce.free = scarce.free.checked_sub(1)?;
        Some(Place(Some(Arc::clone(self))))
    }

    fn scarce(&self) -> Option<MutexGuard<'_, Scarce>> {
        self.0.as_ref().map(|scarce| scarce.lock().expect("nobody panics while holding places"))
    }

    /// Gives a place to who needs it most and still waits.
    fn give_back(self: &Arc<Self>) {
        while let Some(mut scarce) = self.scarce() {
            let Some((_, next)) = scarce.waiting.pop_first() else {
                scarce.free += 1;
                return;
            };
            drop(scarce);
            match next.send(Place(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // It waits no longer. The place is given on here, and not by its drop.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

impl Place {
    /// A place where there are enough.
    pub(super) fn free() -> Self {
        Self(None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.0.take() {
            places.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn places_go_to_the_higher_priority_and_then_to_who_came_first() {
        let places = Arc::new(Places::new(Some(1)));
        let first = places.get(0).await;
        assert!(places.try_get().is_none());
        let mut low = Box::pin(places.get(-1));
        let mut high = Box::pin(places.get(5));
        let mut later = Box::pin(places.get(5));
        let mut gone = Box::pin(places.get(9));
        for waiting in [&mut low, &mut high, &mut later, &mut gone] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gone);
        drop(first);
        let second = high.as_mut().now_or_never().expect("the highest that still waits");
        assert!(later.as_mut().now_or_never().is_none());
        drop(second);
        let third = later.as_mut().now_or_never().expect("the next");
        drop(third);
        let fourth = low.as_mut().now_or_never().expect("at last");
        drop(fourth);
        assert!(places.try_get().is_some());
    }

    #[tokio::test]
    async fn a_place_that_is_given_to_nobody_is_not_lost() {
        let places = Arc::new(Places::new(Some(1)));
        let first = places.get(0).await;
        let mut waiting = Box::pin(places.get(0));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        // It was given the place, and never asked for it.
        drop(waiting);
        assert!(places.try_get().is_some());
    }
}
