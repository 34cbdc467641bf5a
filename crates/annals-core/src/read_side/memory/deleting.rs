//! Deleting subscribers in memory: all at once.

use super::{Kept, Subscriber};
use crate::error::ReadSideError;
use crate::read_side::{Deleted, UsedBy};
use crate::{SubscriberName, Timestamp};

impl Kept {
    pub(super) fn delete(
        &mut self,
        name: &SubscriberName,
        now: Timestamp,
    ) -> Result<Deleted, ReadSideError> {
        if let Some(by) = self.used_by(name, now) {
            return Err(ReadSideError::InUse { subscriber: name.clone(), by });
        }
        let known = self.subscribers.remove(name);
        let deleted = Deleted {
            parked: known.as_ref().map_or(0, Subscriber::parked),
            rows: self.remove_rows(name),
            deliveries: self.queue.remove_all(name),
            tables: Vec::new(),
        };
        if known.is_none() && deleted == Deleted::default() {
            return Err(ReadSideError::Unknown(name.clone()));
        }
        Ok(deleted)
    }

    fn used_by(&self, name: &SubscriberName, now: Timestamp) -> Option<UsedBy> {
        if let Some(by) = self.subscribers.get(name).and_then(|known| known.worked_by(now)) {
            return Some(by);
        }
        let until = self.queue.taken(name, now).max()?;
        let deliveries = self.queue.taken(name, now).count() as u64;
        Some(UsedBy::Deliveries { deliveries, until })
    }

    /// Removes the rows of all generations; how many these were.
    fn remove_rows(&mut self, name: &SubscriberName) -> u64 {
        let mut removed = 0;
        self.rows.retain(|(owner, _), rows| {
            let stays = owner != name;
            removed += if stays { 0 } else { rows.len() as u64 };
            stays
        });
        removed
    }
}

impl Subscriber {
    fn worked_by(&self, now: Timestamp) -> Option<UsedBy> {
        if self.active().runs_inline() {
            return Some(UsedBy::Appends);
        }
        let parts = self.generations.iter().flat_map(|built| &built.parts);
        let mut owners = parts.filter_map(|part| part.owner.as_ref());
        let (owner, until) = owners.find(|(_, until)| *until > now)?;
        Some(UsedBy::Owner { owner: owner.to_string(), until: *until })
    }

    fn parked(&self) -> u64 {
        self.generations.iter().map(|built| built.parked.len() as u64).sum()
    }
}
