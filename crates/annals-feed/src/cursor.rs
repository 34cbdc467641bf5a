//! Cursors: where a page ends, as opaque text.

use std::fmt;
use std::str::FromStr;

use annals::{Position, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entry::Place;
use crate::{Filter, InvalidCursor, Order};

const VERSION: u8 = 1;
/// Version, filter, moment, position, part, check.
const BYTES: usize = 1 + 8 + 8 + 8 + 4 + 4;

/// Where a page ends: the next one begins behind it, whatever has come meanwhile.
///
/// As text it is opaque, safe in a URL, and holds what it belongs to: one that was cut, or made
/// for another filter, is refused. It is not secret and not signed: whoever makes one up can only
/// begin a page elsewhere in what the filter allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    filter: u64,
    place: Place,
}

impl Cursor {
    pub(crate) fn new(filter: &Filter, order: Order, place: Place) -> Self {
        Self { filter: fingerprint(filter, order), place }
    }

    /// The place, if the cursor was made for this.
    pub(crate) fn place(self, filter: &Filter, order: Order) -> Result<Place, InvalidCursor> {
        let is_its_own = self.filter == fingerprint(filter, order);
        if is_its_own { Ok(self.place) } else { Err(InvalidCursor::OtherFilter) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (occurred_at, position, part) = self.place;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend(self.filter.to_be_bytes());
        bytes.extend(occurred_at.as_micros().to_be_bytes());
        bytes.extend(position.get().to_be_bytes());
        bytes.extend(part.to_be_bytes());
        bytes.extend(check(&bytes));
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor::Damaged)?;
        let (said, checked) = bytes.split_last_chunk().ok_or(InvalidCursor::Damaged)?;
        if check(said) != *checked {
            return Err(InvalidCursor::Damaged);
        }
        if said.first() != Some(&VERSION) {
            return Err(InvalidCursor::OtherVersion);
        }
        read(&said[1..]).ok_or(InvalidCursor::Damaged)
    }
}

fn read(bytes: &[u8]) -> Option<Cursor> {
    let (filter, rest) = bytes.split_first_chunk()?;
    let (occurred_at, rest) = rest.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let (part, rest) = rest.split_first_chunk()?;
    let occurred_at = Timestamp::from_micros(i64::from_be_bytes(*occurred_at));
    let position = Position::new(u64::from_be_bytes(*position));
    let place = (occurred_at, position, u32::from_be_bytes(*part));
    rest.is_empty().then_some(Cursor { filter: u64::from_be_bytes(*filter), place })
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = fnv(bytes).to_be_bytes();
    [a, b, c, d]
}

/// What a cursor belongs to: the same in every process.
fn fingerprint(filter: &Filter, order: Order) -> u64 {
    let json = serde_json::to_vec(&(filter, order)).expect("a filter is names and numbers");
    fnv(&json)
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// How far a live feed has come: the `id:` of a server-sent event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCursor {
    pub(crate) position: Position,
    /// How many entries of the position have been seen; `None` is all there are.
    pub(crate) parts: Option<u32>,
}

impl LiveCursor {
    /// Behind everything up to a position: that of a receipt, for example.
    #[must_use]
    pub fn after(position: Position) -> Self {
        Self { position, parts: None }
    }
}

impl fmt::Display for LiveCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "live{VERSION}.{}", self.position)?;
        self.parts.map_or(Ok(()), |parts| write!(f, ".{parts}"))
    }
}

impl FromStr for LiveCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let damaged = |_| InvalidCursor::Damaged;
        let said = text.strip_prefix("live").ok_or(InvalidCursor::Damaged)?;
        let (version, said) = said.split_once('.').ok_or(InvalidCursor::Damaged)?;
        if version.parse() != Ok(VERSION) {
            return Err(InvalidCursor::OtherVersion);
        }
        let (position, parts) = match said.split_once('.') {
            Some((position, parts)) => (position, Some(parts.parse().map_err(damaged)?)),
            None => (said, None),
        };
        Ok(Self { position: Position::new(position.parse().map_err(damaged)?), parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        let place = (Timestamp::from_micros(-5), Position::new(7), 1);
        Cursor::new(&Filter::new().by("ada"), Order::NewestFirst, place)
    }

    #[test]
    fn a_cursor_survives_text_and_no_character_of_it_can_change() {
        let text = cursor().to_string();
        assert_eq!(text.parse(), Ok(cursor()));
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed.parse::<Cursor>().is_err(), "{changed}");
            assert!(text[..index].parse::<Cursor>().is_err(), "{}", &text[..index]);
        }
    }

    #[test]
    fn a_cursor_is_for_one_filter_and_one_order() {
        let ada = Filter::new().by("ada");
        assert!(cursor().place(&ada, Order::NewestFirst).is_ok());
        let other = Err(InvalidCursor::OtherFilter);
        assert_eq!(cursor().place(&ada, Order::OldestFirst), other);
        assert_eq!(cursor().place(&Filter::new().by("grace"), Order::NewestFirst), other);
    }

    #[test]
    fn a_cursor_of_another_version_says_so() {
        let mut bytes = vec![2; BYTES - 4];
        bytes.extend(check(&bytes));
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor::OtherVersion));
        assert_eq!("live2.7".parse::<LiveCursor>(), Err(InvalidCursor::OtherVersion));
    }

    #[test]
    fn live_cursors_survive_text() {
        for text in ["live1.7", "live1.7.2"] {
            assert_eq!(text.parse::<LiveCursor>().unwrap().to_string(), text);
        }
        for text in ["", "7", "live1", "live1.x", "live1.7.x", "live1.-7"] {
            assert_eq!(text.parse::<LiveCursor>(), Err(InvalidCursor::Damaged), "{text}");
        }
    }
}
