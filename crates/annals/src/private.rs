//! What derived code calls. Not for use by hand, and free to change.

use std::fmt::Display;

use annals_core::{ContentType, Data, EventType, NewEvent, RecordedEvent, Tag};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
use crate::{Event, Upcasters};

pub use crate::decision::derived::{is_stored_as, is_tagged, query};
pub use crate::event_names::stored_name;
pub use crate::fold::{Folded, Kept, StateShape, fold_of, snapshotting};
pub use crate::shape::{Described, FieldType, Opaque, opaque, schema_of, written_with};
pub use {schemars, serde};

/// The data of an event without fields: `{}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoFields {}

/// Makes the new event of a variant, whose name the derive has checked.
pub fn encode(
    event_type: &'static str,
    schema_version: u32,
    data: &impl Serialize,
    tags: &[(&'static str, Option<&dyn Display>)],
) -> Result<NewEvent, EncodeError> {
    let fail = |fault| EncodeError { event_type: event_type.to_owned(), fault };
    let data = Data::of(data).map_err(|error| fail(EncodeFault::Data(error)))?;
    if !data.bytes.starts_with(b"{") {
        return Err(fail(EncodeFault::NoObject));
    }
    let mut event = NewEvent::new(EventType::from_static(event_type), data);
    event.schema_version = schema_version;
    for &(key, value) in tags {
        let Some(value) = value else { continue };
        let tag = Tag::of(key, value);
        let tag = tag.map_err(|source| fail(EncodeFault::Tag { key, source }))?;
        event = event.tagged(tag);
    }
    Ok(event)
}

/// Parses the stored data straight into the fields of its variant.
pub fn decode<T: DeserializeOwned>(
    stored: &RecordedEvent,
    schema_version: u32,
) -> Result<T, DecodeError> {
    if stored.schema_version != schema_version {
        let fault =
            DecodeFault::SchemaVersion { stored: stored.schema_version, known: schema_version };
        return Err(DecodeError::of(stored, fault));
    }
    if stored.data.content_type != ContentType::JSON {
        let content_type = stored.data.content_type.to_string();
        return Err(DecodeError::of(stored, DecodeFault::ContentType { content_type }));
    }
    serde_json::from_slice(&stored.data.bytes)
        .map_err(|error| DecodeError::of(stored, DecodeFault::Data(error)))
}

/// The error for a stored event whose type is none of `E`'s.
pub fn unknown<E: Event>(stored: &RecordedEvent) -> DecodeError {
    let known = E::SHAPES.iter().map(|shape| shape.name).collect();
    DecodeError::of(stored, DecodeFault::UnknownType { known })
}

/// The value of a field that is a tag.
///
/// `(&TagField(..)).value()` takes [`TagOfOption`] for an `Option`, because that is the method of
/// what stands there; for other types [`TagOfValue`], for which another reference is needed.
#[derive(Debug)]
pub struct TagField<'a, T>(pub &'a T);

/// A field that has a value or not.
pub trait TagOfOption<'a> {
    /// Its value, if it has one.
    fn value(&self) -> Option<&'a dyn Display>;
}

impl<'a, T: Display> TagOfOption<'a> for TagField<'a, Option<T>> {
    fn value(&self) -> Option<&'a dyn Display> {
        self.0.as_ref().map(|value| value as &dyn Display)
    }
}

/// A field that has a value.
pub trait TagOfValue<'a, T: 'a> {
    /// Its value.
    fn value(&self) -> Option<&'a dyn Display>
    where
        T: TagValue;
}

impl<'a, T> TagOfValue<'a, T> for &TagField<'a, T> {
    fn value(&self) -> Option<&'a dyn Display>
    where
        T: TagValue,
    {
        Some(self.0.shown())
    }
}

/// A value that makes a tag.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` makes no tag",
    label = "this type cannot be shown",
    note = "the value of a tag is what `Display` says; implement `std::fmt::Display` for the type, \
            or for that within the `Option`, or tag another field"
)]
pub trait TagValue {
    /// What is shown.
    fn shown(&self) -> &dyn Display;
}

#[diagnostic::do_not_recommend]
impl<T: Display> TagValue for T {
    fn shown(&self) -> &dyn Display {
        self
    }
}

/// What the function named in `#[event(upcasters = ..)]` returns.
pub fn upcasters(function: impl UpcastersFn) -> Upcasters {
    function.upcasters()
}

/// A function that returns upcasters.
#[diagnostic::on_unimplemented(
    message = "`upcasters = ..` names no function that returns `annals::Upcasters`",
    label = "this is something else",
    note = "write `fn upcasters() -> annals::Upcasters {{ annals::Upcasters::new() }}`, and name it \
            without calling it: `#[event(upcasters = upcasters)]`"
)]
pub trait UpcastersFn {
    /// Calls it.
    fn upcasters(self) -> Upcasters;
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> Upcasters> UpcastersFn for F {
    fn upcasters(self) -> Upcasters {
        self()
    }
}
