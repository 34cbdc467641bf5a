//! Descriptions of entries in people's languages, made of Fluent templates.

mod arguments;

use std::fmt;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentMessage, FluentResource};
use unic_langid::LanguageIdentifier;

use crate::{Entry, Group};

pub use arguments::ARGUMENTS_MAX;

/// Describes entries and groups in people's languages, by templates in
/// [Fluent](https://projectfluent.org).
///
/// The id of a message is the type of the event, in which what cannot stand in an id is `-`:
/// `issue-closed` for the type `issue.closed`. Its attribute `group` describes several of them.
/// A template can use
///
/// * `$actor`, `$reason`, `$batch`, `$stream`, `$category`, `$type`, and `$id`, which is what
///   stands behind the category in the stream's name; empty where there is none;
/// * the fields of the data by their names, `$customer-name` for what is inside another;
/// * those of the metadata with `meta-` before them;
/// * in a group `$count`, for which Fluent knows each language's plurals.
///
/// The message is looked for in the language that is asked for (`de-AT`), in its language without
/// the region (`de`), in the default one; then the message `entry` in the same order; then there
/// is a description without any template. One with an argument that an entry does not have is
/// passed over.
///
/// **Nothing is escaped.** What people wrote stands in a description as it is: whoever puts it into
/// HTML has to escape it, as any text.
///
/// ```
/// use annals_feed::Descriptions;
/// # use annals_feed::Entry;
/// # use annals::*;
/// # fn entry() -> Entry {
/// #     Entry::of(&RecordedEvent {
/// #         position: Position::new(1), stream: StreamId::new("issue-7").unwrap(), version: Version::FIRST,
/// #         id: EventId::from_bytes([1; 16]), event_type: EventType::from_static("IssueAssigned"),
/// #         schema_version: 1, data: Data::json(r#"{"to":"grace"}"#),
/// #         metadata: Context::new().actor("ada").metadata(),
/// #         tags: Tags::default(), occurred_at: Timestamp::EPOCH, recorded_at: Timestamp::EPOCH,
/// #     })
/// # }
///
/// let descriptions = Descriptions::new("en")?
///     .add_resource("en", "
/// IssueAssigned = { $actor } assigned issue { $id } to { $to }
///     .group = { $count ->
///         [one] { $actor } assigned an issue
///        *[other] { $actor } assigned { $count } issues
///     }
/// ")?
///     .add_resource("de", "IssueAssigned = { $actor } hat { $to } das Ticket { $id } gegeben")?
///     .without_isolation();
/// let entry = entry();
/// assert_eq!(descriptions.describe("en", &entry), "ada assigned issue 7 to grace");
/// // What the ids mean is better known elsewhere:
/// let names = [("actor", "Ada"), ("to", "Grace")];
/// assert_eq!(
///     descriptions.describe_with("de-AT", &entry, names),
///     "Ada hat Grace das Ticket 7 gegeben"
/// );
/// # Ok::<(), annals_feed::InvalidTemplate>(())
/// ```
pub struct Descriptions {
    default: LanguageIdentifier,
    locales: Vec<(LanguageIdentifier, FluentBundle<FluentResource>)>,
    isolates: bool,
}

/// Templates, or the name of a language, that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTemplate {
    /// It does not name a language.
    #[error("{0:?} is no language; name one like `de` or `pt-BR`")]
    Locale(String),
    /// The templates cannot be understood, or define a message again.
    #[error("the templates for {locale} have faults; mend them: {faults}")]
    Templates {
        /// Of which language.
        locale: String,
        /// What is wrong.
        faults: String,
    },
}

impl Descriptions {
    /// No templates yet; this is the language for what others lack.
    ///
    /// # Errors
    /// [`InvalidTemplate::Locale`].
    pub fn new(default: &str) -> Result<Self, InvalidTemplate> {
        Ok(Self { default: locale(default)?, locales: Vec::new(), isolates: true })
    }

    /// The same with more templates of a language: the text of an `.ftl` file.
    ///
    /// # Errors
    /// [`InvalidTemplate`], saying what is wrong.
    pub fn add_resource(mut self, name: &str, text: &str) -> Result<Self, InvalidTemplate> {
        let locale = locale(name)?;
        let faults = |faults: Vec<String>| InvalidTemplate::Templates {
            locale: name.to_owned(),
            faults: faults.join("; "),
        };
        let resource = FluentResource::try_new(text.to_owned())
            .map_err(|(_, errors)| faults(errors.iter().map(ToString::to_string).collect()))?;
        let known = self.locales.iter().position(|(known, _)| *known == locale);
        let index = known.unwrap_or_else(|| {
            let mut bundle = FluentBundle::new_concurrent(vec![locale.clone()]);
            bundle.set_use_isolating(self.isolates);
            self.locales.push((locale, bundle));
            self.locales.len() - 1
        });
        let added = self.locales[index].1.add_resource(resource);
        added.map_err(|errors| faults(errors.iter().map(ToString::to_string).collect()))?;
        Ok(self)
    }

    /// The same without marks around arguments. Unless said otherwise each stands between U+2068
    /// and U+2069, so that text from right to left does not mix up what stands around it; where
    /// nothing understands these, a plain-text mail for example, they are in the way.
    #[must_use]
    pub fn without_isolation(mut self) -> Self {
        self.isolates = false;
        self.locales.iter_mut().for_each(|(_, bundle)| bundle.set_use_isolating(false));
        self
    }

    /// An entry, in a language.
    #[must_use]
    pub fn describe(&self, locale: &str, entry: &Entry) -> String {
        self.describe_with(locale, entry, [])
    }

    /// An entry, in a language, with arguments that are better than its own: names instead of ids.
    #[must_use]
    pub fn describe_with<'a>(
        &self,
        locale: &str,
        entry: &Entry,
        better: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let arguments = arguments::of(entry, 1, better);
        self.find(locale, entry, &arguments, |message| message.value())
            .unwrap_or_else(|| generic(entry))
    }

    /// A group, in a language: by the attribute `group` of its type's message, or its newest entry
    /// with the count behind it.
    #[must_use]
    pub fn describe_group(&self, locale: &str, group: &Group) -> String {
        self.describe_group_with(locale, group, [])
    }

    /// The same, with arguments that are better than its own.
    #[must_use]
    pub fn describe_group_with<'a>(
        &self,
        locale: &str,
        group: &Group,
        better: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let entry = &group.newest;
        let arguments = arguments::of(entry, group.count, better);
        let attribute = |message: &FluentMessage<'_>| message.get_attribute("group").is_some();
        let grouped = (group.count > 1)
            .then(|| {
                self.find(locale, entry, &arguments, |message| {
                    attribute(&message).then(|| message.get_attribute("group"))?.map(|a| a.value())
                })
            })
            .flatten();
        grouped.unwrap_or_else(|| {
            let newest = self.find(locale, entry, &arguments, |message| message.value());
            let newest = newest.unwrap_or_else(|| generic(entry));
            if group.count > 1 { format!("{newest} ({})", group.count) } else { newest }
        })
    }

    /// What the first message says that has an answer for all its arguments.
    fn find(
        &self,
        name: &str,
        entry: &Entry,
        arguments: &FluentArgs<'_>,
        part: impl for<'m> Fn(FluentMessage<'m>) -> Option<Pattern<'m>>,
    ) -> Option<String> {
        let id = arguments::identifier(entry.event_type.as_str());
        let chain = self.chain(name);
        let messages = [&*id, GENERIC].into_iter();
        let mut tried = messages.flat_map(|id| chain.iter().map(move |bundle| (id, *bundle)));
        tried.find_map(|(id, bundle)| {
            let pattern = part(bundle.get_message(id)?)?;
            let mut errors = Vec::new();
            let text = bundle.format_pattern(pattern, Some(arguments), &mut errors);
            errors.is_empty().then(|| text.into_owned())
        })
    }

    /// The languages in which messages are looked for.
    fn chain(&self, name: &str) -> Vec<&FluentBundle<FluentResource>> {
        let asked = locale(name).ok();
        let language = asked
            .as_ref()
            .map(|asked| LanguageIdentifier::from_parts(asked.language, None, None, &[]));
        let chain = [asked, language, Some(self.default.clone())];
        let bundle = |wanted: LanguageIdentifier| {
            let mut known = self.locales.iter();
            known.find(|(known, _)| *known == wanted).map(|(_, bundle)| bundle)
        };
        chain.into_iter().flatten().filter_map(bundle).collect()
    }
}

/// The message for entries that have none of their own.
const GENERIC: &str = "entry";

type Pattern<'m> = &'m fluent_syntax::ast::Pattern<&'m str>;

fn locale(name: &str) -> Result<LanguageIdentifier, InvalidTemplate> {
    name.parse().map_err(|_| InvalidTemplate::Locale(name.to_owned()))
}

/// A description without any template.
fn generic(entry: &Entry) -> String {
    match &entry.actor {
        Some(actor) => format!("{} ({}, {actor})", entry.event_type, entry.stream),
        None => format!("{} ({})", entry.event_type, entry.stream),
    }
}

impl fmt::Debug for Descriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locales = self.locales.iter().map(|(locale, _)| locale.to_string());
        f.debug_struct("Descriptions")
            .field("default", &self.default.to_string())
            .field("locales", &locales.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
