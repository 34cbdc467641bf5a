//! The shapes of events over time: that what was ever stored can be read, and what is written
//! now will be.
//!
//! An application keeps a *lock* with its code, a file with the shape of every type and schema
//! version of event that it ever stored; and *fixtures*, an event of each of them as it was
//! stored. Two tests see to it that both stay true:
//!
//! ```no_run
//! # use annals::Event;
//! # #[derive(Event)] enum AccountEvent { AccountClosed }
//! # #[derive(Event)] enum OrderEvent { OrderPlaced }
//! use annals::schema::{self, Schema};
//!
//! fn events() -> Schema {
//!     Schema::new().with::<AccountEvent>().with::<OrderEvent>()
//! }
//!
//! # let _ = || {
//! #[test]
//! fn every_event_ever_stored_can_be_read() {
//!     schema::check_lock("events.lock.json", &events());
//!     schema::check_fixtures("tests/events", "events.lock.json", &events());
//! }
//! # };
//! ```
//!
//! `ANNALS_SCHEMA=update cargo test` adds the new shapes to the lock. When a change would leave
//! stored events behind, the test fails and shows the upcaster to write.
//!
//! A shape is compared as far as its JSON Schema goes. Of a field whose type does not implement
//! [`schemars::JsonSchema`] only the name of the type is known: what changes within it is not
//! seen. Derive `JsonSchema` for the types that stand in events. What `#[serde(with = ..)]` writes
//! is known by the name of the function, and can be read by that function only.

pub(crate) mod canonical;

mod breaking;
mod compare;
mod files;
mod fixtures;
mod lock;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use annals_core::RecordedEvent;

use crate::Event;
use crate::Upcasters;
use crate::error::DecodeError;
use crate::upcast::{End, Routes, Upcasted};

use canonical::without_types;
use lock::{Shapes, TagKeys, Written};

pub use breaking::Breaking;
pub use compare::Change;
pub use files::check_lock;
pub use fixtures::check_fixtures;
pub use lock::{Lock, Unlocked};

/// The shapes in which a program writes its events, and where its upcasters lead.
#[derive(Clone, Default)]
pub struct Schema {
    events: Shapes,
    tags: TagKeys,
    upcasters: Upcasters,
    routes: Routes,
    enums: Vec<Enum>,
}

/// How the events of one enum are read.
#[derive(Clone, Copy)]
struct Enum {
    knows: fn(&str) -> bool,
    upcast: fn(&RecordedEvent) -> Result<Upcasted, DecodeError>,
    writes: fn(&str) -> bool,
    /// Of an event as it is written.
    decode: fn(&RecordedEvent) -> Result<(), DecodeError>,
}

impl Schema {
    /// Without any events yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with the events of an enum.
    ///
    /// # Panics
    /// When another enum has a type of the same name and version in another shape, or upcasts it
    /// otherwise: stored, the two could not be told apart.
    #[must_use]
    pub fn with<E: Event>(mut self) -> Self {
        for shape in E::SHAPES {
            let before = self.events.get(shape.name, shape.schema_version).cloned();
            let schema = (shape.schema)();
            self.events.insert(shape.name, shape.schema_version, schema.as_value());
            let now = self.events.get(shape.name, shape.schema_version);
            assert!(
                before.is_none() || before.as_ref().map(without_types) == now.map(without_types),
                "two enums have a {} version {} in different shapes, so that a stored one could \
                 be either; give one of them another name",
                shape.name,
                shape.schema_version
            );
            self.tags.add(shape.name, shape.schema_version, shape.tags.iter().copied());
        }
        self.upcasters = self.upcasters.and(E::upcasters());
        self.routes = self.upcasters.routes();
        self.enums.push(Enum {
            knows: |event_type| {
                let upcast = || E::upcasters().routes().know(event_type);
                E::SHAPES.iter().any(|shape| shape.name == event_type) || upcast()
            },
            upcast: |stored| E::upcasters().apply(stored),
            writes: |event_type| E::SHAPES.iter().any(|shape| shape.name == event_type),
            decode: |stored| E::decode_current(stored).map(drop),
        });
        self
    }

    /// Its text, the same each time: for `annals schema check --current`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { events, tags, routes, .. } = self.clone();
        Written { events, tags, upcasters: routes }.to_json()
    }

    /// Reads the text of a schema. One that was read knows no more than what is written there: it
    /// can be [checked](Self::check), but it has no events to decode fixtures with.
    ///
    /// # Errors
    /// When it is not the JSON of a schema.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        let Written { events, tags, upcasters } = Written::from_json(text)?;
        Ok(Self { events, tags, routes: upcasters, ..Self::default() })
    }

    /// Whether everything that was ever stored in a locked shape can be read, as it was meant.
    ///
    /// A shape may gain fields that are not required, become wider, or get a schema where only the
    /// name of a type was known. Whatever else changes is another shape and needs another schema
    /// version, to which an upcaster leads. What it says is not looked at. Tags may come to a
    /// shape, and none may go from it.
    ///
    /// # Errors
    /// All that stands against it, each with what to do.
    pub fn check(&self, lock: &Lock) -> Result<(), Vec<Breaking>> {
        let written = self.events.iter().filter_map(|(event_type, version, _)| {
            let stays = End::At(event_type.to_owned(), version);
            match self.routes.end(event_type, version) {
                End::Circle => Some(Breaking::circle(event_type, version)),
                end if end != stays => match self.routes.finally(event_type) {
                    Some(finally) => Some(Breaking::all_led_away(event_type, version, &finally)),
                    None => Some(Breaking::led_away(event_type, version)),
                },
                _ => None,
            }
        });
        let locked = lock.events.iter().filter_map(|(event_type, version, schema)| {
            match self.events.get(event_type, version) {
                Some(now) => {
                    let lost = self.lost_tags(lock, event_type, version);
                    let changes = compare::changes(schema, now);
                    if changes.is_empty() {
                        let is_broken = !lost.is_empty();
                        return is_broken.then(|| Breaking::untagged(event_type, version, &lost));
                    }
                    let now = without_types(now);
                    Some(Breaking::changed(event_type, version, schema, &now, changes, &lost))
                }
                None => self.check_way(event_type, version, schema),
            }
        });
        let mut breaking: Vec<Breaking> = written.collect();
        for found in locked {
            let same = |known: &Breaking| {
                (&known.event_type, known.version) == (&found.event_type, found.version)
            };
            if !breaking.iter().any(same) {
                breaking.push(found);
            }
        }
        if breaking.is_empty() { Ok(()) } else { Err(breaking) }
    }

    /// The keys of tags that a locked shape has, and what the program writes in it has not.
    fn lost_tags<'a>(&self, lock: &'a Lock, event_type: &str, version: u32) -> Vec<&'a str> {
        let has = |key: &&str| self.tags.of(event_type, version).any(|now| now == *key);
        lock.tags.of(event_type, version).filter(|key| !has(key)).collect()
    }

    /// What stands against the way from a shape that the program no longer writes.
    fn check_way(
        &self,
        event_type: &str,
        version: u32,
        schema: &serde_json::Value,
    ) -> Option<Breaking> {
        match self.routes.end(event_type, version) {
            End::Dropped => None,
            End::At(end, at) if self.events.get(&end, at).is_some() => None,
            End::At(end, at) => {
                let moved = (end != event_type || at != version).then_some((end.as_str(), at));
                let newest = self.events.newest(event_type);
                let newest = newest.map(|(version, schema)| (version, without_types(schema)));
                Some(Breaking::dead_end(event_type, version, moved, newest.as_ref(), schema))
            }
            End::Split(into) => {
                let unknown = into.iter().find(|name| !self.reads(name, &mut Vec::new()))?;
                Some(Breaking::split(event_type, version, unknown))
            }
            End::Circle => Some(Breaking::circle(event_type, version)),
        }
    }

    /// What the program writes and the lock does not have, or not as it is written: all that
    /// [`locked`](Self::locked) would change in it. A lock that lacks nothing is up to date.
    #[must_use]
    pub fn unlocked(&self, lock: &Lock) -> Vec<Unlocked> {
        lock.lacking(&self.locked(lock))
    }

    /// Whether events of this type can be read in one of their versions at least. Which version a
    /// split makes is not known before.
    fn reads(&self, event_type: &str, seen: &mut Vec<String>) -> bool {
        if seen.iter().any(|name| name == event_type) {
            return false;
        }
        seen.push(event_type.to_owned());
        let written = self.events.iter().map(|(_, version, _)| version);
        let mut versions: BTreeSet<u32> = written.chain(self.routes.versions()).collect();
        versions.insert(1);
        versions.into_iter().any(|version| match self.routes.end(event_type, version) {
            End::Dropped => true,
            End::At(end, at) => self.events.get(&end, at).is_some(),
            End::Split(into) => into.iter().all(|name| self.reads(name, &mut seen.clone())),
            End::Circle => false,
        })
    }

    /// The lock with all shapes of this schema in it as well.
    ///
    /// Of a shape that is in both, it has what the program writes now: so check first.
    #[must_use]
    pub fn locked(&self, lock: &Lock) -> Lock {
        let mut locked = lock.clone();
        for (event_type, version, schema) in self.events.iter() {
            locked.events.insert(event_type, version, &without_types(schema));
            locked.tags.remove(event_type, version);
            locked.tags.add(event_type, version, self.tags.of(event_type, version));
        }
        locked
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.events.iter().map(|(event_type, version, _)| (event_type, version));
        f.debug_list().entries(shapes).finish()
    }
}

/// Whether events of this type are recorded by Annals itself, and not by an application: they are
/// in no lock.
#[must_use]
pub fn is_of_annals(event_type: &str) -> bool {
    event_type.starts_with("annals.") || event_type == crate::refusal::COMMAND_REFUSED
}
