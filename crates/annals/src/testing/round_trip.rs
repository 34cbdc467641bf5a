//! Round trips: events are read as they were written.

use std::fmt::Debug;

use annals_core::{Position, StreamId};
use proptest::strategy::Strategy;

use crate::Event;
use crate::testing::cases::Cases;
use crate::testing::failure::{chain, difference_of_events, told};
use crate::testing::world::World;

/// Every event is read as it was written, whatever is in it.
///
/// ```
/// # use annals::Event;
/// use annals::testing::round_trips;
/// use proptest::prelude::*;
///
/// #[derive(Clone, Debug, PartialEq, Event)]
/// enum AccountEvent {
///     AccountOpened { owner: String },
///     MoneyDeposited { amount: u64 },
/// }
///
/// round_trips(prop_oneof![
///     any::<String>().prop_map(|owner| AccountEvent::AccountOpened { owner }),
///     any::<u64>().prop_map(|amount| AccountEvent::MoneyDeposited { amount }),
/// ]);
/// ```
///
/// # Panics
/// When one is not, with the smallest that was found.
#[track_caller]
pub fn round_trips<E: Event + Debug + PartialEq>(events: impl Strategy<Value = E>) {
    Cases::default().run(&events, "an event is not read as it was written", |event| {
        let encoded = event
            .encode()
            .map_err(|error| format!("{event:#?}\ncannot be stored: {}", chain(&error)))?;
        let world = World::new();
        world.give_encoded(&StreamId::from_static("given"), vec![encoded]);
        let stored = &world.log(Position::START)[0];
        let read: Vec<_> = match E::decode(stored) {
            Ok(decoded) => decoded.collect(),
            Err(error) => {
                return Err(format!("{event:#?}\ncannot be read: {}", chain(&error)));
            }
        };
        let written = [event];
        if read == written {
            return Ok(());
        }
        let difference = difference_of_events(&written, &read);
        Err(format!("stored as {}\n{difference}", told(stored)))
    });
}
