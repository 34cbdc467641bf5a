//! The derives of Annals, used through the crate `annals`, which documents them.
//!
//! Each mistake is answered where it was made, with what to write instead, and all mistakes of
//! one item at once. The messages are tested in `annals/tests/compile_fail`.

mod aggregate;
mod attribute;
mod decision_model;
mod described;
mod event;
mod fold;
mod written;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Implements `annals::Event` for an enum with one variant for each type of event.
///
/// The name of a variant is the name of the event type, its fields are the event's data. Fields
/// also take serde's attributes, and variants `#[serde(rename_all = "…")]`; neither `Serialize`
/// nor `Deserialize` need be derived for the enum.
///
/// On the enum:
///
/// - `#[event(upcasters = function)]` names the function that returns the `annals::Upcasters`,
///   which say how events in older shapes are read.
///
/// On a variant:
///
/// - `#[event(name = "…")]` stores it under another name.
/// - `#[event(version = 2)]` stores it under another schema version than 1.
///
/// On a field:
///
/// - `#[event(tag = "key")]` tags the event with `key:value`, the value being what `Display` says.
/// - `#[event(subject)]` on at most one of them: its value is the person, or the other owner, whom
///   the event is about. The event gets the tag `subject:value`.
///
/// A tagged field may be an `Option`; then there is a tag only when there is a value.
///
/// The schema of each event, in `SHAPES`, goes as deep as the types of the fields tell: those that
/// implement `schemars::JsonSchema` say what is in them, of others it has the name.
#[proc_macro_derive(Event, attributes(event, serde))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `annals::Aggregate` for the state that is folded from one stream.
///
/// How an event changes the state is yours to say, with `impl Apply<AccountEvent> for Account`.
/// `#[aggregate(category = "account", event = AccountEvent)]` says in which category its streams
/// are and which events they hold. There may also be, in any order:
///
/// - `id = AccountId`: what `load` and `execute` take as its id, and nothing else. Unless said
///   otherwise, anything that can be shown.
/// - `unknown = skip`: stored events of unknown types are passed over. Unless said otherwise,
///   `fail`: loading fails, because a state folded from some of the events is a wrong state.
/// - `cache`: its folds are kept in memory for those who load it next. It derives `Clone`.
/// - `snapshot`: its folds are kept as snapshots. It derives serde's `Serialize` and
///   `Deserialize`, and `#[annals::fold]` stands above the `impl Apply`.
///
/// # Which snapshots are used
///
/// A snapshot is used by the program whose fold is the one it was made with, and by no other. The
/// fold is known by what the macros see: the fields of the state, the schemas, names and versions
/// of the events, serde's attributes on their fields, the types and versions that are upcast, and
/// the code of the `impl Apply`. What the types of the fields are made of is seen if they
/// implement `schemars::JsonSchema`.
///
/// They cannot see into functions that `apply` calls or that serde's attributes name, into the
/// closures of upcasters, or into types without a schema; nor what a `#[cfg(..)]` or a constant
/// within `apply` comes to. Whoever changes what one of those does to a state writes
/// `snapshot(version = 2)`, then 3, and so on: no snapshot made before is used again.
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn derive_aggregate(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    aggregate::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Lets the snapshots of an aggregate know the code that folds it: stands above the
/// `impl Apply<..> for ..` of an aggregate with `#[aggregate(snapshot)]`.
///
/// When that code changes, snapshots that were made with the old one are not used any more. Its
/// layout and its comments do not count.
#[proc_macro_attribute]
pub fn fold(arguments: TokenStream, item: TokenStream) -> TokenStream {
    fold::expand(&arguments.into(), &item.into()).into()
}

/// Implements `annals::DecisionModel` for the state that is folded from what a query finds, and
/// gives it the constructor `of`.
///
/// `#[model(event = CourseEvent, types(CourseDefined, StudentSubscribed))]` says which events it
/// is folded from, by their variants; without `types` all of the enum. A type that is stored
/// under another name than its variant is named in quotes. On a field, `#[model(tag = "course")]`
/// restricts them to those tagged `course:` with the field's value: a tag that a field of one of
/// those events makes. (A model of tags that are given where an event is recorded is written by
/// hand.) How an event changes the
/// state is yours to say, with `impl Apply<CourseEvent> for Places`.
#[proc_macro_derive(DecisionModel, attributes(model))]
pub fn derive_decision_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    decision_model::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}
