//! Events as the domain writes them, and how they become what a store keeps.

use annals_core::{NewEvent, RecordedEvent};

use crate::error::{DecodeError, EncodeError};

/// The events of one kind of stream: an enum with one variant for each type of event.
///
/// Derive it. The name of a variant is the name under which its events are stored, and its
/// fields, as a JSON object, are the event's data: there is nothing in it that a program in
/// another language could not write or read.
///
/// ```
/// use annals::Event;
///
/// #[derive(Event)]
/// enum AccountEvent {
///     AccountOpened { owner: String, #[event(tag = "branch")] branch: u32 },
///     AccountClosed,
///     #[event(name = "MoneyDeposited", version = 2)]
///     Deposited { amount: u64, #[serde(default)] note: Option<String> },
/// }
///
/// let opened = AccountEvent::AccountOpened { owner: "Ada".into(), branch: 7 }.encode()?;
/// assert_eq!(opened.event_type.as_str(), "AccountOpened");
/// assert_eq!(&opened.data.bytes[..], br#"{"owner":"Ada","branch":7}"#);
/// assert_eq!(opened.tags[0].as_str(), "branch:7");
///
/// let closed = AccountEvent::AccountClosed.encode()?;
/// assert_eq!(&closed.data.bytes[..], b"{}");
/// # Ok::<(), annals::EncodeError>(())
/// ```
///
/// A variant may also hold one struct, `Deposited(Deposit)`, whose fields are then the data;
/// the struct derives serde's `Serialize` and `Deserialize` itself. Fields that are stored and
/// not known are passed over; fields that are known and not stored need `#[serde(default)]` or
/// must be an `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an enum of events",
    label = "this type cannot be stored as events",
    note = "write `#[derive(annals::Event)]` above `{Self}`"
)]
pub trait Event: Sized + Send + 'static {
    /// The names of all its types.
    const TYPES: &'static [&'static str];

    /// The event as it is appended, with a new id.
    ///
    /// # Errors
    /// When a field does not serialise as JSON, or the value of a tag makes no valid tag.
    fn encode(&self) -> Result<NewEvent, EncodeError>;

    /// The event as the domain knows it.
    ///
    /// # Errors
    /// When the stored type is none of [`TYPES`](Self::TYPES), or the data or the schema
    /// version does not fit the type.
    fn decode(stored: &RecordedEvent) -> Result<Self, DecodeError>;
}
