//! How something is executed, besides what: under which id, in which context, how often.

use std::pin::Pin;

use annals_core::{Append, AppendCondition, InvalidName, NewEvent, Query, QueryItem, Tag};
use sha2::{Digest, Sha256};

use crate::error::{EncodeError, EncodeFault};
use crate::{Annals, Context, RetryPolicy};

/// What the names start with that only the framework gives to tags and event types.
const RESERVED: &str = "annals.";
/// The key of the tag that all events of a command with an id have.
const COMMAND_TAG: &str = "annals.command";
/// The longest text that says what was executed; of a longer one its hash is kept.
const WHAT_BYTES_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) id: Option<String>,
    pub(crate) context: Option<Context>,
    pub(crate) retry: Option<RetryPolicy>,
}

/// The id of a command, and what the command was: by which a repeat is recognised, and told from
/// another command that was given the same id.
pub(crate) struct CommandMark {
    pub(crate) id: String,
    pub(crate) tag: Tag,
    pub(crate) what: String,
}

impl How {
    /// `what` says what is executed; asked only when there is an id to put it beside.
    pub(crate) fn mark(
        &self,
        what: impl FnOnce() -> String,
    ) -> Result<Option<CommandMark>, InvalidName> {
        let Some(id) = self.id.clone() else { return Ok(None) };
        let what = what();
        let tag = Tag::of(COMMAND_TAG, &id)
            .map_err(|InvalidName { fault, .. }| InvalidName { kind: "command id", fault })?;
        let what = if what.len() > WHAT_BYTES_MAX { hash_of(&what) } else { what };
        Ok(Some(CommandMark { id, tag, what }))
    }
}

impl CommandMark {
    /// Every event that the command has left.
    pub(crate) fn left(&self) -> Query {
        Query::of(QueryItem::new().tag(self.tag.clone()))
    }
}

/// A short text that is another for another text.
pub(crate) fn hash_of(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Annals {
    /// Gives events what the surroundings say: metadata, and what a repeat is recognised by.
    pub(crate) fn stamp(&self, append: &mut Append, command: Option<&CommandMark>) {
        self.stamp_in(append, command, Context::current());
    }

    /// The same in this context.
    pub(crate) fn stamp_in(
        &self,
        append: &mut Append,
        command: Option<&CommandMark>,
        mut context: Context,
    ) {
        if let Some(command) = command {
            let caused = Context::new().causation(&command.id);
            context = context.within(&caused).with(Context::COMMAND, command.what.clone());
            append.conditions.push(AppendCondition::none_match(command.left()));
        }
        // Nearly no event says anything of itself, so this is written as JSON once for all.
        let metadata = context.metadata();
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            event.metadata = match event.metadata.is_empty() {
                true => metadata.clone(),
                false => context.metadata_with(&event.metadata),
            };
            event.tags.extend(command.map(|command| command.tag.clone()));
        }
    }

    /// Gives events the ids that they are appended with.
    pub(crate) fn identify(&self, append: &mut Append) {
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            event.id = self.ids.next();
        }
    }
}

/// Whether an event leaves alone what is the framework's own.
///
/// # Errors
/// [`EncodeFault::Reserved`].
pub(crate) fn check_not_reserved(event: &NewEvent) -> Result<(), EncodeError> {
    let names = event.tags.iter().map(Tag::as_str).chain([event.event_type.as_str()]);
    match names.into_iter().find(|name| name.starts_with(RESERVED)) {
        None => Ok(()),
        Some(name) => {
            let fault = EncodeFault::Reserved { name: name.to_owned() };
            Err(EncodeError { event_type: event.event_type.to_string(), fault })
        }
    }
}

/// What is done once it is awaited, in the context that was said for it.
pub(crate) fn done_in<'a, T>(
    context: Option<Context>,
    work: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    match context {
        Some(context) => Box::pin(context.scope(work)),
        None => Box::pin(work),
    }
}

/// The methods by which whoever executes something says how.
macro_rules! how_methods {
    () => {
        /// Gives it an id, for example that of the request: whatever is executed under the same
        /// id again, also after a restart, writes nothing and has the first receipt.
        ///
        /// Ids are shared by all who use the log, so they should be hard to guess and hard to
        /// meet by chance, such as UUIDs. What turned out to have nothing to do has left nothing
        /// to recognise it by, and decides again.
        pub fn id(mut self, id: impl std::fmt::Display) -> Self {
            self.how.id = Some(id.to_string());
            self
        }

        /// In this context, within the one that is [around](crate::Context::scope).
        pub fn context(mut self, context: crate::Context) -> Self {
            let before = self.how.context.take().unwrap_or_default();
            self.how.context = Some(context.within(&before));
            self
        }

        /// Done by this one.
        pub fn by(self, actor: impl std::fmt::Display) -> Self {
            self.context(crate::Context::new().actor(actor))
        }

        /// Done for this reason.
        pub fn because(self, reason: impl std::fmt::Display) -> Self {
            self.context(crate::Context::new().reason(reason))
        }

        /// As often as this, when others are faster.
        pub fn retry(mut self, policy: crate::RetryPolicy) -> Self {
            self.how.retry = Some(policy);
            self
        }
    };
}
pub(crate) use how_methods;
