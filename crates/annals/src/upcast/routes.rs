//! Where upcasters lead, without what they do: as far as that can be told before an event is read.

use std::collections::BTreeMap;

use annals_core::{EventType, Query, QueryItem};
use serde::{Deserialize, Serialize};

use super::{Finally, Step, Steps, Upcasters};

/// The ways from stored types and versions. Also written down, for those who are not the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Routes(BTreeMap<String, Route>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Route {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<u32, Leads>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Leads {
    Next,
    Split(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    Drop,
    Rename(String),
}

/// Where a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There it stays.
    At(String, u32),
    Dropped,
    /// In several events of these types, at versions that depend on what the event says.
    Split(Vec<String>),
    Circle,
}

impl Routes {
    /// Where events of this type and version end.
    pub(crate) fn end(&self, event_type: &str, mut version: u32) -> End {
        let mut at = event_type;
        let mut been = Vec::new();
        while let Some(route) = self.0.get(at) {
            if been.contains(&at) {
                return End::Circle;
            }
            been.push(at);
            while let Some(leads) = route.versions.get(&version) {
                match leads {
                    Leads::Next => version = version.saturating_add(1),
                    Leads::Split(into) => return End::Split(into.clone()),
                }
            }
            match &route.then {
                None => break,
                Some(Then::Drop) => return End::Dropped,
                Some(Then::Rename(new)) => at = new,
            }
        }
        End::At(at.to_owned(), version)
    }

    /// What is said about every version of this type, as it is written in the program.
    pub(crate) fn finally(&self, event_type: &str) -> Option<String> {
        let then = self.0.get(event_type)?.then.as_ref()?;
        Some(match then {
            Then::Drop => format!(".drop_type({event_type:?})"),
            Then::Rename(new) => format!(".rename({event_type:?}, {new:?})"),
        })
    }

    /// All versions from which anything leads away, and those to which it leads.
    pub(crate) fn versions(&self) -> impl Iterator<Item = u32> {
        let from = self.0.values().flat_map(|route| route.versions.keys());
        from.flat_map(|&version| [version, version.saturating_add(1)])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything is said about this type.
    pub(crate) fn know(&self, event_type: &str) -> bool {
        self.0.contains_key(event_type)
    }
}

impl Upcasters {
    pub(crate) fn routes(&self) -> Routes {
        let route = |steps: &Steps| Route {
            versions: steps.versions.iter().map(|(from, step)| (*from, step.leads())).collect(),
            then: match steps.finally {
                Finally::Keep => None,
                Finally::Drop => Some(Then::Drop),
                Finally::Rename(new) => Some(Then::Rename(new.to_owned())),
            },
        };
        Routes(self.types.iter().map(|(name, steps)| ((*name).to_owned(), route(steps))).collect())
    }

    /// The types under which events may be stored that are read as events of this type, itself
    /// included.
    #[must_use]
    pub fn stored_types(&self, event_type: &str) -> Vec<String> {
        let mut found = vec![event_type.to_owned()];
        let mut next = 0;
        while let Some(target) = found.get(next).cloned() {
            let sources = self.types.iter().filter(|(_, steps)| steps.lead_to(&target));
            for (source, _) in sources {
                if !found.iter().any(|known| known == source) {
                    found.push((*source).to_owned());
                }
            }
            next += 1;
        }
        found
    }

    /// The same query about events as they may be stored: with the types that were split into
    /// those it asks for, or renamed to them. What a projector of an application's own asks the
    /// store for.
    #[must_use]
    pub fn as_stored(&self, query: &Query) -> Query {
        let widened = query.items().iter().map(|item| {
            let types = item.types.iter().flat_map(|name| self.stored_types(name.as_str()));
            let mut widened = QueryItem { types: vec![], ..item.clone() };
            for name in types.map(EventType::from_stored) {
                if !widened.types.contains(&name) {
                    widened.types.push(name);
                }
            }
            widened
        });
        widened.collect()
    }

    /// What an event stored under this type and schema version is read as: itself, when no
    /// upcaster concerns it; `None` when it is dropped, or when that depends on what it says.
    #[must_use]
    pub fn leads_from(&self, event_type: &str, version: u32) -> Option<(String, u32)> {
        match self.routes().end(event_type, version) {
            End::At(event_type, version) => Some((event_type, version)),
            End::Dropped | End::Split(_) | End::Circle => None,
        }
    }
}

impl Step {
    fn leads(&self) -> Leads {
        match self {
            Self::Change(_) => Leads::Next,
            Self::Split { into, .. } => {
                Leads::Split(into.iter().map(|name| (*name).to_owned()).collect())
            }
        }
    }
}

impl Steps {
    fn lead_to(&self, target: &str) -> bool {
        let renamed = matches!(self.finally, Finally::Rename(new) if new == target);
        let split =
            |step: &Step| matches!(step, Step::Split { into, .. } if into.contains(&target));
        renamed || self.versions.values().any(split)
    }
}

#[cfg(test)]
mod tests {
    use annals_core::Tag;

    use super::*;

    #[test]
    fn a_query_is_widened_by_every_way_that_leads_to_its_types() {
        let upcasters = Upcasters::new()
            .rename("CourseMade", "CourseCreated")
            .rename("CourseCreated", "CourseDefined")
            .split("CoursePlanned", 1, &["CourseDefined", "TeacherFound"], |_| vec![]);
        let tag = Tag::from_static("course:c1");
        let of = |names: &[&'static str]| {
            let types = names.iter().map(|name| EventType::from_static(name));
            Query::of(QueryItem::new().types(types).tag(tag.clone()))
        };
        let widened = upcasters.as_stored(&of(&["TeacherFound", "CourseDefined"]));
        let expected =
            of(&["TeacherFound", "CoursePlanned", "CourseDefined", "CourseCreated", "CourseMade"]);
        assert_eq!(widened, expected);
        // An item that names no type is as wide as it can be.
        assert_eq!(upcasters.as_stored(&of(&[])), of(&[]));
    }
}
