//! How something is executed, besides what: under which id, in which context, how often.

use annals_core::{Append, AppendCondition, InvalidName, NewEvent, Query, QueryItem, Tag};

use crate::{Annals, Context, RetryPolicy};

/// The key of the tag that all events of a command with an id have.
const COMMAND: &str = "command";

#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) id: Option<String>,
    pub(crate) context: Option<Context>,
    pub(crate) retry: Option<RetryPolicy>,
}

impl How {
    /// The tag by which a repeat is recognised.
    pub(crate) fn tag(&self) -> Result<Option<Tag>, InvalidName> {
        self.id.as_ref().map(|id| Tag::of(COMMAND, id)).transpose()
    }
}

/// Every event that a command with this tag has left.
pub(crate) fn left_by(command: &Tag) -> Query {
    Query::of(QueryItem::new().tag(command.clone()))
}

impl Annals {
    /// Gives events what the surroundings say: ids, metadata, and the tag of the command.
    pub(crate) fn stamp(&self, append: &mut Append, command: Option<&Tag>) {
        let mut context = Context::current();
        if let Some(command) = command {
            let caused = Context::new().causation(command.value());
            context = context.within(&caused);
            append.conditions.push(AppendCondition::none_match(left_by(command)));
        }
        let events = append.streams.iter_mut().flat_map(|part| &mut part.events);
        for event in events {
            self.stamp_event(event, &context);
            event.tags.extend(command.cloned());
        }
    }

    pub(crate) fn stamp_event(&self, event: &mut NewEvent, context: &Context) {
        event.id = self.ids.next();
        event.metadata = context.metadata_with(&event.metadata);
    }
}

/// The methods by which whoever executes something says how.
macro_rules! how_methods {
    () => {
        /// Gives it an id, for example that of the request: whatever is executed under the same
        /// id again, also after a restart, writes nothing and has the first receipt.
        ///
        /// What decided that there was nothing to do has left nothing to recognise it by, and
        /// decides again.
        #[must_use]
        pub fn id(mut self, id: impl std::fmt::Display) -> Self {
            self.how.id = Some(id.to_string());
            self
        }

        /// In this context, within the one that is [around](crate::Context::scope).
        #[must_use]
        pub fn context(mut self, context: crate::Context) -> Self {
            self.how.context = Some(context);
            self
        }

        /// As often as this, when others are faster.
        #[must_use]
        pub fn retry(mut self, policy: crate::RetryPolicy) -> Self {
            self.how.retry = Some(policy);
            self
        }
    };
}
pub(crate) use how_methods;
