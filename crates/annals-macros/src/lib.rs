//! The derives of Annals, used through the crate `annals`, which documents them.
//!
//! Each mistake is answered where it was made, with what to write instead, and all mistakes of
//! one item at once. The messages are tested in `annals/tests/compile_fail`.

mod aggregate;
mod attribute;
mod event;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Implements `annals::Event` for an enum with one variant for each type of event.
///
/// The name of a variant is the name of the event type, its fields are the event's data.
///
/// On a variant, `#[event(name = "…")]` stores it under another name, and
/// `#[event(version = 2)]` under another schema version than 1. On a field,
/// `#[event(tag = "key")]` tags the event with `key:value`. Fields also take serde's attributes,
/// and variants `#[serde(rename_all = "…")]`; neither `Serialize` nor `Deserialize` need be
/// derived.
#[proc_macro_derive(Event, attributes(event, serde))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `annals::Aggregate` for the state that is folded from one stream.
///
/// `#[aggregate(category = "account", event = AccountEvent)]` says in which category its streams
/// are, and which events they hold. How an event changes the state is yours to say, with
/// `impl Apply<AccountEvent> for Account`.
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn derive_aggregate(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    aggregate::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}
