//! What a snapshot's state looks like in a store: a version of this form, how the stream stands,
//! and the state as JSON; all of it compressed, with a checksum over it.

use std::io::{self, Read, Write};

use annals_core::Snapshot;
use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

use crate::Standing;

/// The form described above.
const FORM: u8 = 1;
/// More than any state that is kept: what unpacks to more is no snapshot.
const STATE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The state and what belongs to it, not compressed yet.
pub(super) fn write<A>(
    standing: Standing,
    state: &A,
    write: fn(&A) -> serde_json::Result<Vec<u8>>,
) -> serde_json::Result<Bytes> {
    let mut bytes = write(state)?;
    bytes.splice(0..0, [FORM, number_of(standing)]);
    Ok(bytes.into())
}

/// The snapshot as it is stored.
pub(super) fn seal(mut unsealed: Snapshot) -> Snapshot {
    const NEVER: &str = "writing to memory does not fail";
    let info = FrameInfo::new().content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&unsealed.state).expect(NEVER);
    unsealed.state = encoder.finish().expect(NEVER).into();
    unsealed
}

/// How the stream stood, and its state.
pub(super) fn open<A>(
    stored: &[u8],
    read: fn(&[u8]) -> serde_json::Result<A>,
) -> io::Result<(Standing, A)> {
    let mut bytes = Vec::new();
    FrameDecoder::new(stored).take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let standing = match &bytes[..] {
        [FORM, number, ..] if bytes.len() as u64 <= STATE_BYTES_MAX => standing_of(*number),
        _ => None,
    };
    let standing = standing.ok_or_else(|| io::Error::other("its form is not known"))?;
    Ok((standing, read(&bytes[2..])?))
}

fn number_of(standing: Standing) -> u8 {
    match standing {
        Standing::Open => 0,
        Standing::Archived => 1,
        Standing::Closed => 2,
        Standing::Deleted => 3,
    }
}

fn standing_of(number: u8) -> Option<Standing> {
    let all = [Standing::Open, Standing::Archived, Standing::Closed, Standing::Deleted];
    all.into_iter().find(|standing| number_of(*standing) == number)
}

#[cfg(test)]
mod tests {
    use annals_core::{EventId, Fingerprint, StreamId, Timestamp, Version};
    use proptest::prelude::*;

    use super::*;

    fn sealed(state: &str) -> Vec<u8> {
        let state = write(Standing::Closed, &state.to_owned(), serde_json::to_vec).unwrap();
        let snapshot = Snapshot {
            stream: StreamId::from_static("account-1"),
            fold: Fingerprint::from_static("fold"),
            version: Version::FIRST,
            last_event: EventId::from_bytes([7; 16]),
            taken_at: "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap(),
            state,
        };
        seal(snapshot).state.to_vec()
    }

    fn read(bytes: &[u8]) -> serde_json::Result<String> {
        serde_json::from_slice(bytes)
    }

    #[test]
    fn what_is_sealed_is_opened() {
        let state = "x".repeat(10_000);
        let sealed = sealed(&state);
        assert!(sealed.len() < 1_000, "{} bytes", sealed.len());
        assert_eq!(open(&sealed, read).unwrap(), (Standing::Closed, state));
    }

    proptest! {
        /// One byte that is another, or missing, and it is either noticed or makes no difference.
        #[test]
        fn damage_is_noticed(state in "[a-c]{0,200}", at: prop::sample::Index, flip in 1..=255_u8) {
            let whole = sealed(&state);
            let mut damaged = whole.clone();
            damaged[at.index(whole.len())] ^= flip;
            if let Ok((standing, opened)) = open(&damaged, read) {
                prop_assert_eq!((standing, opened), (Standing::Closed, state.clone()));
            }
            let cut = &whole[..at.index(whole.len())];
            if let Ok((standing, opened)) = open(cut, read) {
                prop_assert_eq!((standing, opened), (Standing::Closed, state));
            }
        }
    }
}
