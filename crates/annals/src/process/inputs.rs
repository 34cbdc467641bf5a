//! The events that a process manager reacts to.

use annals_core::RecordedEvent;

use crate::error::DecodeError;
use crate::{Event, EventTypes, UnknownTypes};

/// Events of one enum, or of several: every [`Event`] is it, and what
/// [`inputs!`](crate::inputs) makes.
pub trait Inputs: Sized + Send + Sync + 'static {
    /// Their types.
    fn types() -> EventTypes;

    /// The event as the domain knows it, of one in its newest shape; `None` when it is of none of
    /// the types.
    ///
    /// # Errors
    /// When the stored data do not fit.
    fn decode(stored: &RecordedEvent) -> Result<Option<Self>, DecodeError>;
}

impl<E: Event + Sync> Inputs for E {
    fn types() -> EventTypes {
        EventTypes::all_of::<E>()
    }

    fn decode(stored: &RecordedEvent) -> Result<Option<Self>, DecodeError> {
        // The inbox has upcast it, and handed on each event that it was split into by itself.
        crate::event::decode(stored, UnknownTypes::Skip).map(|mut decoded| decoded.next())
    }
}

/// Makes one enum of several enums of events, for a process manager that reacts to all of them.
///
/// ```
/// # use annals::Event;
/// # #[derive(Event)] enum OrderEvent { OrderPlaced }
/// # #[derive(Event)] enum PaymentEvent { MoneyReceived { order: String } }
/// annals::inputs! {
///     /// What fulfilment is about.
///     enum FulfilmentInput {
///         Order(OrderEvent),
///         Payment(PaymentEvent),
///     }
/// }
/// let paid: FulfilmentInput = PaymentEvent::MoneyReceived { order: "7".into() }.into();
/// assert!(matches!(paid, FulfilmentInput::Payment(_)));
/// ```
#[macro_export]
macro_rules! inputs {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$about:meta])* $variant:ident($event:ty)),+ $(,)?
    }) => {
        $(#[$doc])*
        $vis enum $name {
            $($(#[$about])* $variant($event)),+
        }

        impl $crate::process::Inputs for $name {
            fn types() -> $crate::EventTypes {
                let types = [$($crate::EventTypes::all_of::<$event>()),+];
                types.into_iter().reduce($crate::EventTypes::and).expect("there is one at least")
            }

            fn decode(
                stored: &$crate::RecordedEvent,
            ) -> ::core::result::Result<::core::option::Option<Self>, $crate::DecodeError> {
                $(
                    let event = <$event as $crate::process::Inputs>::decode(stored)?;
                    if let ::core::option::Option::Some(event) = event {
                        return ::core::result::Result::Ok(
                            ::core::option::Option::Some(Self::$variant(event)),
                        );
                    }
                )+
                ::core::result::Result::Ok(::core::option::Option::None)
            }
        }

        $(
            impl ::core::convert::From<$event> for $name {
                fn from(event: $event) -> Self {
                    Self::$variant(event)
                }
            }
        )+
    };
}
