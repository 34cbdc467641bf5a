//! What tells one fold from another: for snapshots, which are of use to the fold that made them
//! and to no other.

use schemars::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::execute::how::hash_of;
use crate::schema::canonical::canonical;
use crate::{Aggregate, Event, Snapshotting, UnknownTypes};

/// What the macros saw of a state.
#[derive(Clone, Copy, Debug)]
pub struct StateShape {
    /// Its fields, as they are written.
    pub written: &'static str,
    /// The schemas of its fields; several sets if it is an enum.
    pub described: &'static [fn() -> Schema],
    /// `snapshot(version = ..)`.
    pub version: u32,
}

/// The code of an `impl Apply<E>`, which `#[annals::fold]` leaves here.
#[diagnostic::on_unimplemented(
    message = "the snapshots of `{Self}` do not know how it is folded",
    label = "needs `#[annals::fold]`",
    note = "write `#[annals::fold]` above `impl Apply<{E}> for {Self}`, so that no snapshot is \
            used any more once `apply` has changed"
)]
pub trait Folded<E> {
    /// The code.
    const APPLY: &'static str;
}

/// A state that can be kept in a snapshot.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a snapshot",
    label = "needs serde's `Serialize` and `Deserialize`",
    note = "write `#[derive(serde::Serialize, serde::Deserialize)]` above `{Self}`"
)]
pub trait Kept: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<A: Serialize + DeserializeOwned> Kept for A {}

/// What the derive sets [`Aggregate::SNAPSHOT`] to.
#[must_use]
pub const fn snapshotting<A: Kept + Folded<A::Event> + Aggregate>(
    fold: fn() -> String,
) -> Snapshotting<A> {
    Snapshotting {
        fold,
        write: |state| serde_json::to_vec(state),
        read: |bytes| serde_json::from_slice(bytes),
    }
}

/// A text that is another one whenever anything has changed that a fold depends on, as far as can
/// be seen.
#[must_use]
pub fn fold_of<A: Aggregate + Folded<A::Event>>(state: &StateShape) -> String {
    let described = |schema: fn() -> Schema| canonical(schema().as_value());
    let events = A::Event::SHAPES
        .iter()
        .map(|shape| (shape.name, shape.schema_version, described(shape.schema), shape.written));
    // No map: in what order it is written is up to whatever else is in the program.
    let seen = (
        state.written,
        state.described.iter().copied().map(described).collect::<Vec<_>>(),
        events.collect::<Vec<_>>(),
        A::Event::upcasters().routes(),
        A::APPLY,
        A::UNKNOWN == UnknownTypes::Skip,
        state.version,
    );
    hash_of(&serde_json::to_string(&seen).expect("schemas and texts are JSON"))
}
