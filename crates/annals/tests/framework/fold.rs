//! What tells the fold of an aggregate from that of another program, and what does not; and what
//! else the attribute of an aggregate says.

use std::fmt;

use annals::{Aggregate, Annals, Apply, Event, MemoryStore, Snapshotting, UnknownTypes, Upcasters};
use serde::{Deserialize, Serialize};

/// A program with an aggregate, in a module of its own.
macro_rules! program {
    (
        $name:ident, [$($attribute:tt)*], Terms { $($terms:tt)* }, AccountEvent { $($events:tt)* },
        $upcasters:expr, Account { $($state:tt)* }, { $($apply:tt)* }
    ) => {
        mod $name {
            use super::*;

            #[derive(Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
            pub(super) struct Terms { $($terms)* }

            #[derive(Event)]
            #[event(upcasters = upcasters)]
            pub(super) enum AccountEvent { $($events)* }

            fn upcasters() -> Upcasters {
                $upcasters
            }

            #[derive(Debug, Default, PartialEq, Serialize, Deserialize, Aggregate)]
            #[aggregate(category = "account", event = AccountEvent, $($attribute)*)]
            pub(super) struct Account { $($state)* }

            #[annals::fold]
            impl Apply<AccountEvent> for Account { $($apply)* }
        }
    };
}

program!(
    first, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    same_in_other_words, [snapshot], Terms { days: u8 }, AccountEvent {
        /// Money came in.
        Paid {
            /// How much.
            amount: u64,
        },
    },
    Upcasters::new(),
    Account {
        /// All that came in.
        pub(super) paid: u64,
        pub(super) terms: Terms
    },
    {
        /// Adds.
        fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) {
            // Never too much.
            self.paid += amount;
        }
    }
);
program!(
    other_apply, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64 } },
    Upcasters::new(), Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid -= amount; } }
);
program!(
    other_state, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64 } },
    Upcasters::new(), Account { pub(super) paid: u64, pub(super) terms: Option<Terms> },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_attribute, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64 } },
    Upcasters::new(), Account { #[serde(alias = "sum")] pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_nested, [snapshot], Terms { days: u16 }, AccountEvent { Paid { amount: u64 } },
    Upcasters::new(), Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_event, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64, #[serde(default)] _by: String } },
    Upcasters::new(), Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_default, [snapshot], Terms { days: u8 },
    AccountEvent { Paid { amount: u64, #[serde(default = "standard_fee")] _fee: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    no_default, [snapshot], Terms { days: u8 },
    AccountEvent { Paid { amount: u64, #[serde(default)] _fee: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_alias, [snapshot], Terms { days: u8 },
    AccountEvent { Paid { #[serde(alias = "sum")] amount: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_upcasters, [snapshot], Terms { days: u8 }, AccountEvent { Paid { amount: u64 } },
    Upcasters::new().rename("Deposited", "Paid"),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_unknown, [unknown = skip, snapshot], Terms { days: u8 },
    AccountEvent { Paid { amount: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);
program!(
    other_version, [snapshot(version = 2)], Terms { days: u8 },
    AccountEvent { Paid { amount: u64 } }, Upcasters::new(),
    Account { pub(super) paid: u64, pub(super) terms: Terms },
    { fn apply(&mut self, AccountEvent::Paid { amount, .. }: AccountEvent) { self.paid += amount; } }
);

fn standard_fee() -> u64 {
    5
}

fn fold<A: Aggregate>() -> String {
    (A::SNAPSHOT.expect("the derive says so").fold)()
}

#[test]
fn a_changed_fold_is_another_fold() {
    let first = fold::<first::Account>();
    assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert_eq!(first, fold::<first::Account>());
    let others = [
        ("events", fold::<other_event::Account>()),
        ("alias", fold::<other_alias::Account>()),
        ("default of a field", fold::<other_default::Account>()),
        ("no default", fold::<no_default::Account>()),
        ("apply", fold::<other_apply::Account>()),
        ("attribute", fold::<other_attribute::Account>()),
        ("nested", fold::<other_nested::Account>()),
        ("state", fold::<other_state::Account>()),
        ("unknown", fold::<other_unknown::Account>()),
        ("upcasters", fold::<other_upcasters::Account>()),
        ("version", fold::<other_version::Account>()),
    ];
    for (n, (what, fold)) in others.iter().enumerate() {
        assert_ne!(*fold, first, "{what}");
        assert!(others[..n].iter().all(|(_, other)| other != fold), "{what} is as another one");
    }
}

#[test]
fn layout_and_comments_leave_the_fold_as_it_is() {
    assert_eq!(fold::<same_in_other_words::Account>(), fold::<first::Account>());
}

#[test]
fn a_snapshot_is_the_state_as_serde_writes_it() {
    let Snapshotting { write, read, .. } = first::Account::SNAPSHOT.unwrap();
    let state = first::Account { paid: 7, terms: first::Terms::default() };
    let bytes = write(&state).unwrap();
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), r#"{"paid":7,"terms":{"days":0}}"#);
    assert_eq!(read(&bytes).unwrap(), state);
    assert!(read(b"{}").is_err());
}

/// An id of its own, for an aggregate that is an enum with everything the attribute can say.
#[derive(Clone, Copy)]
struct LoanId(u32);

impl fmt::Display for LoanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

#[derive(Event)]
enum LoanEvent {
    Lent { to: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Aggregate)]
#[aggregate(category = "loan", event = LoanEvent, id = LoanId, unknown = fail, cache, snapshot)]
enum Loan {
    #[default]
    Open,
    Lent {
        to: String,
    },
    Extended(Box<Self>, u8),
}

#[annals::fold]
impl Apply<LoanEvent> for Loan {
    fn apply(&mut self, LoanEvent::Lent { to }: LoanEvent) {
        *self = Self::Lent { to };
    }
}

#[tokio::test]
async fn an_aggregate_is_what_its_attribute_says() {
    assert_eq!((Loan::UNKNOWN, Loan::CATEGORY), (UnknownTypes::Fail, "loan"));
    let lent = Loan::Lent { to: "Ada".into() };
    assert_eq!((Loan::CACHE.unwrap())(&lent), lent);
    let extended = Loan::Extended(Box::new(lent), 2);
    let Snapshotting { write, read, .. } = Loan::SNAPSHOT.unwrap();
    assert_eq!(read(&write(&extended).unwrap()).unwrap(), extended);
    assert_eq!(fold::<Loan>().len(), 64);

    let library = Annals::new(MemoryStore::new());
    let loaded = library.load::<Loan>(LoanId(7)).await.unwrap();
    assert_eq!(loaded.stream.as_str(), "loan-L7");

    assert_eq!(other_unknown::Account::UNKNOWN, UnknownTypes::Skip);
    assert!(first::Account::CACHE.is_none());
}
