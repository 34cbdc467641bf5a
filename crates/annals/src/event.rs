//! Events as the domain writes them, and how they become what a store keeps.

use annals_core::{NewEvent, Position, RecordedEvent, StreamId, Tags, Timestamp, Version};

use crate::UnknownTypes;
use crate::error::{DecodeError, EncodeError, EncodeFault};
use crate::upcast::{Upcasted, Upcasters};

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
///     #[event(name = "MoneyDeposited")]
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
///
/// When the shape of an event changes otherwise, it gets the next schema version,
/// `#[event(version = 2)]`, and [`Upcasters`] say what became of the old ones.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an enum of events",
    label = "this type cannot be stored as events",
    note = "write `#[derive(annals::Event)]` above `{Self}`"
)]
pub trait Event: Sized + Send + 'static {
    /// Its types, each in the shape in which they are written now.
    const SHAPES: &'static [EventShape];

    /// The names of variants, each with the name under which its events are stored.
    #[doc(hidden)]
    const VARIANTS: &'static [(&'static str, &'static str)] = &[];

    /// How events in older shapes are read: part of the events themselves, so that no path on
    /// which they are read can forget it.
    #[must_use]
    fn upcasters() -> &'static Upcasters {
        Upcasters::NONE
    }

    /// The event as it is appended, with a new id.
    ///
    /// # Errors
    /// When a field does not serialise as JSON, the data are no JSON object, or the value of a tag
    /// makes no valid tag.
    fn encode(&self) -> Result<NewEvent, EncodeError>;

    /// The event as the domain knows it, of an event in one of the [`SHAPES`](Self::SHAPES).
    ///
    /// Whoever reads a log uses [`decode`](Self::decode), which also knows the older shapes.
    ///
    /// # Errors
    /// When the stored type is none of them, or the data or the schema version does not fit.
    fn decode_current(stored: &RecordedEvent) -> Result<Self, DecodeError>;

    /// The events as the domain knows them that a stored one stands for: one, unless an
    /// upcaster splits or drops it.
    ///
    /// # Errors
    /// When an upcaster fails, or what comes of it is no event of the domain.
    fn decode(stored: &RecordedEvent) -> Result<Decoded<Self>, DecodeError> {
        decode(stored, UnknownTypes::Fail)
    }
}

/// As [`Event::decode`], passing over unknown types if that is said.
pub(crate) fn decode<E: Event>(
    stored: &RecordedEvent,
    unknown: UnknownTypes,
) -> Result<Decoded<E>, DecodeError> {
    let passed_over = |event: &RecordedEvent| unknown == UnknownTypes::Skip && !knows::<E>(event);
    let upcasted = match E::upcasters().apply(stored)? {
        Upcasted::AsStored if passed_over(stored) => return Ok(Decoded::none()),
        Upcasted::AsStored => return E::decode_current(stored).map(Decoded::one),
        Upcasted::Became(events) => events,
    };
    let decoded = upcasted.iter().filter(|event| !passed_over(event)).map(E::decode_current);
    decoded.collect::<Result<Vec<_>, _>>().map(Decoded::several)
}

/// An event as it is appended to a stream, and the events that will be read there: what is
/// folded from now on is what others will fold, also where a type does not write all that it
/// holds.
///
/// # Errors
/// When it cannot be stored, or could not be read again.
pub(crate) fn encode<E: Event>(
    event: &E,
    stream: &StreamId,
) -> Result<(NewEvent, Decoded<E>), EncodeError> {
    let new = event.encode()?;
    let read = decode(&as_if_recorded(&new, stream), UnknownTypes::Fail)
        .map_err(|error| EncodeError::unreadable(&new, error))?;
    if read.is_none() {
        let event_type = new.event_type.to_string();
        return Err(EncodeError { event_type, fault: EncodeFault::Dropped });
    }
    Ok((new, read))
}

/// An event that is about to be appended, as it will be read.
pub(crate) fn as_if_recorded(new: &NewEvent, stream: &StreamId) -> RecordedEvent {
    RecordedEvent {
        position: Position::START,
        stream: stream.clone(),
        version: Version::EMPTY,
        id: new.id,
        event_type: new.event_type.clone(),
        schema_version: new.schema_version,
        data: new.data.clone(),
        metadata: new.metadata.clone(),
        tags: Tags::new(&new.tags),
        occurred_at: new.occurred_at.unwrap_or(Timestamp::EPOCH),
        recorded_at: Timestamp::EPOCH,
    }
}

/// Whether the stored type is one of them.
pub(crate) fn knows<E: Event>(event: &RecordedEvent) -> bool {
    E::SHAPES.iter().any(|shape| shape.name == event.event_type.as_str())
}

/// One type of event, in the shape in which it is written now.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "events by hand make it")]
pub struct EventShape {
    /// The name of the type.
    pub name: &'static str,
    /// Which shape that is, counted from 1.
    pub schema_version: u32,
    /// What the data look like.
    pub schema: fn() -> schemars::Schema,
    /// Its fields as they are written in the program, with serde's attributes: what its schema
    /// does not say, such as which default they have.
    pub written: &'static str,
    /// The keys of the tags that its fields make.
    pub tags: &'static [&'static str],
}

/// The events that a stored one stands for, in order.
#[derive(Clone, Debug)]
pub struct Decoded<E>(Events<E>);

/// Nearly always there is just one, and it costs no allocation.
#[derive(Clone, Debug)]
enum Events<E> {
    One(Option<E>),
    Several(std::vec::IntoIter<E>),
}

impl<E> Decoded<E> {
    fn one(event: E) -> Self {
        Self(Events::One(Some(event)))
    }

    fn several(events: Vec<E>) -> Self {
        Self(Events::Several(events.into_iter()))
    }

    /// Whether it stands for no event at all.
    fn is_none(&self) -> bool {
        match &self.0 {
            Events::One(event) => event.is_none(),
            Events::Several(events) => events.len() == 0,
        }
    }

    /// Of an event that is passed over.
    fn none() -> Self {
        Self(Events::One(None))
    }
}

impl<E> Iterator for Decoded<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        match &mut self.0 {
            Events::One(event) => event.take(),
            Events::Several(events) => events.next(),
        }
    }
}
