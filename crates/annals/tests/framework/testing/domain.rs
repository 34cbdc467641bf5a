//! An account that belongs to somebody, and shows that are sold out.

use annals::{
    Aggregate, Apply, Command, Context, Decision, DecisionModel, Denied, Event, FieldErrors,
    InvalidName, StreamId, Upcasters,
};

#[derive(Clone, Debug, PartialEq, Event)]
#[event(upcasters = upcasters)]
pub(crate) enum AccountEvent {
    AccountOpened {
        #[event(tag = "owner")]
        owner: String,
    },
    #[event(version = 2)]
    MoneyDeposited {
        cents: i64,
    },
    MoneyWithdrawn {
        cents: i64,
    },
}

fn upcasters() -> Upcasters {
    Upcasters::new().upcast("MoneyDeposited", 1, |data| {
        let amount = data.remove("amount").and_then(|amount| amount.as_i64());
        data.insert("cents".to_owned(), amount.map(|amount| amount * 100).into());
    })
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
pub(crate) struct Account {
    pub(crate) owner: Option<String>,
    pub(crate) balance: i64,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::AccountOpened { owner } => self.owner = Some(owner),
            AccountEvent::MoneyDeposited { cents } => self.balance += cents,
            AccountEvent::MoneyWithdrawn { cents } => self.balance -= cents,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Teller {
    Open {
        owner: String,
    },
    Deposit {
        cents: i64,
    },
    Withdraw {
        cents: i64,
    },
    /// Has no limit.
    Steal {
        cents: i64,
    },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("only {held} is held")]
    InsufficientFunds { held: i64 },
    #[error("the account is open already")]
    Open,
}

impl Command<Account> for Teller {
    type Error = Refusal;

    fn field_errors(&self) -> FieldErrors {
        let nothing = matches!(self, Self::Deposit { cents: 0 } | Self::Withdraw { cents: 0 });
        FieldErrors::none().check(!nothing, "cents", "range", "must be more than nothing")
    }

    fn authorise(&self, account: &Account, context: &Context) -> Result<(), Denied> {
        let mine = context.who().is_none() || context.who() == account.owner.as_deref();
        let taking = matches!(self, Self::Withdraw { .. });
        Denied::unless(mine || !taking, "only the owner may withdraw")
    }

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
        let held = account.balance;
        match self {
            Self::Open { owner } if account.owner.as_ref() == Some(&owner) => Ok(vec![]),
            Self::Open { .. } if account.owner.is_some() => Err(Refusal::Open),
            Self::Open { owner } => Ok(vec![AccountEvent::AccountOpened { owner }]),
            Self::Deposit { cents } => Ok(vec![AccountEvent::MoneyDeposited { cents }]),
            Self::Withdraw { cents } if cents > held => Err(Refusal::InsufficientFunds { held }),
            Self::Withdraw { cents } | Self::Steal { cents } => {
                Ok(vec![AccountEvent::MoneyWithdrawn { cents }])
            }
        }
    }
}

pub(crate) fn opened(owner: &str) -> AccountEvent {
    AccountEvent::AccountOpened { owner: owner.to_owned() }
}

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum ShowEvent {
    ShowPlanned {
        #[event(tag = "show")]
        show: String,
        seats: u32,
    },
    SeatSold {
        #[event(tag = "show")]
        show: String,
        #[event(tag = "guest")]
        guest: String,
    },
}

/// Another enum with events about guests.
#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum GuestEvent {
    GuestBanned {
        #[event(tag = "guest")]
        guest: String,
    },
}

#[derive(Debug, DecisionModel)]
#[model(event = ShowEvent)]
pub(crate) struct Seats {
    #[model(tag = "show")]
    show: String,
    pub(crate) left: u32,
}

impl Apply<ShowEvent> for Seats {
    fn apply(&mut self, event: ShowEvent) {
        match event {
            ShowEvent::ShowPlanned { seats, .. } => self.left = seats,
            ShowEvent::SeatSold { .. } => self.left -= 1,
        }
    }
}

#[derive(Debug, DecisionModel)]
#[model(event = GuestEvent)]
pub(crate) struct Banned {
    #[model(tag = "guest")]
    guest: String,
    banned: bool,
}

impl Apply<GuestEvent> for Banned {
    fn apply(&mut self, _: GuestEvent) {
        self.banned = true;
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Buy {
    pub(crate) show: &'static str,
    pub(crate) guest: &'static str,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum NoSeat {
    #[error("the show is sold out")]
    SoldOut,
    #[error("guest {0} is not welcome")]
    NotWelcome(&'static str),
}

impl Decision for Buy {
    type Model = (Seats, Banned);
    type Event = ShowEvent;
    type Error = NoSeat;

    fn model(&self) -> Self::Model {
        (Seats::of(self.show), Banned::of(self.guest))
    }

    fn decide(self, (seats, guest): &Self::Model) -> Result<Vec<ShowEvent>, NoSeat> {
        if guest.banned {
            return Err(NoSeat::NotWelcome(self.guest));
        }
        if seats.left == 0 {
            return Err(NoSeat::SoldOut);
        }
        let (show, guest) = (self.show.to_owned(), self.guest.to_owned());
        Ok(vec![ShowEvent::SeatSold { show, guest }])
    }

    fn stream(&self, _: &ShowEvent) -> Result<StreamId, InvalidName> {
        StreamId::of("show", self.show)
    }
}

pub(crate) fn planned(show: &str, seats: u32) -> ShowEvent {
    ShowEvent::ShowPlanned { show: show.to_owned(), seats }
}

pub(crate) fn sold(show: &str, guest: &str) -> ShowEvent {
    ShowEvent::SeatSold { show: show.to_owned(), guest: guest.to_owned() }
}

pub(crate) fn banned(guest: &str) -> GuestEvent {
    GuestEvent::GuestBanned { guest: guest.to_owned() }
}
