//! What derived code calls to describe shapes of events and states.

use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::schema::canonical::{DESCRIBED, FLATTENED, PERHAPS, TYPE, WITH};

/// The schema of what a hidden shadow describes.
///
/// Everything is written where it is used, so that the name of a type says nothing. Defaults are
/// left out: they may be another one each time, such as the present moment.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    let is_named_for_shadow =
        schema.get("title").and_then(|title| title.as_str()) == Some(&T::schema_name());
    if is_named_for_shadow {
        schema.remove("title");
    }
    RecursiveTransform(|schema: &mut Schema| {
        schema.remove("default");
    })
    .transform(&mut schema);
    schema
}

/// A type of which only the name is known.
#[must_use]
pub fn opaque(title: &str) -> Schema {
    let mut schema = Schema::default();
    schema.insert("title".to_owned(), title.into());
    schema
}

/// What functions of its own write and read, of which only the names are known.
#[must_use]
pub fn written_with(title: &str) -> Schema {
    let mut schema = Schema::default();
    schema.insert(WITH.to_owned(), title.into());
    schema
}

/// The type of a field, which may have a schema or not.
///
/// `(&FieldType::<T>::titled(..)).describe(..)` takes [`Described`] if it does, because that is
/// the method of what stands there; if not, [`Opaque`], for which another reference is needed.
#[derive(Debug)]
pub struct FieldType<T> {
    title: &'static str,
    place: Place,
    of: PhantomData<fn() -> T>,
}

/// Where the fields of a type are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a value of their own.
    Own,
    /// Flattened into those of the whole.
    Flat { perhaps: bool },
}

impl<T> FieldType<T> {
    /// The type as it is written.
    #[must_use]
    pub fn titled(title: &'static str) -> Self {
        Self { title, place: Place::Own, of: PhantomData }
    }

    /// The same, flattened into the whole, if it is there.
    #[must_use]
    pub fn flattened(title: &'static str, perhaps: bool) -> Self {
        Self { title, place: Place::Flat { perhaps }, of: PhantomData }
    }

    /// The keyword for its name when it is flattened: one for each, for they meet in one schema.
    fn flattened_as(&self) -> String {
        format!("{FLATTENED}{}", self.title)
    }
}

/// A type that has a schema.
pub trait Described {
    /// Its schema, with the name of the type beside it: known by its name only before, it is
    /// still the same one.
    fn describe(&self, generator: &mut SchemaGenerator) -> Schema;
}

impl<T: JsonSchema> Described for FieldType<T> {
    fn describe(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        let (keyword, value) = match self.place {
            Place::Own => (TYPE.to_owned(), self.title),
            Place::Flat { .. } => (self.flattened_as(), DESCRIBED),
        };
        if let Some(keywords) = schema.as_object_mut().filter(|keywords| !keywords.is_empty()) {
            keywords.insert(keyword, value.into());
        }
        schema
    }
}

/// A type that may have none.
pub trait Opaque {
    /// Its name, as a schema.
    fn describe(&self, generator: &mut SchemaGenerator) -> Schema;
}

impl<T> Opaque for &FieldType<T> {
    fn describe(&self, _: &mut SchemaGenerator) -> Schema {
        let Place::Flat { perhaps } = self.place else { return opaque(self.title) };
        let mut schema = Schema::default();
        let value = if perhaps { PERHAPS.into() } else { true.into() };
        schema.insert(self.flattened_as(), value);
        schema
    }
}
