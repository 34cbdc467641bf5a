//! A customer: where parcels go.

use std::convert::Infallible;

use annals::{Aggregate, Apply, Command, Context, Denied, Event, FieldErrors, Upcasters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use self::CustomerEvent::AddressUpdated;
use crate::naming::plain;

#[derive(Clone, Debug, PartialEq, Event)]
#[event(upcasters = upcasters)]
pub enum CustomerEvent {
    #[event(version = 2)]
    AddressUpdated { customer_id: String, address: Address },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Address {
    #[validate(custom(function = "line"))]
    pub street: String,
    #[validate(custom(function = "line"))]
    pub city: String,
    #[validate(custom(function = "line"))]
    pub country: String,
}

/// Version 1 called the customer a user, had no `address`, and mostly no country either.
fn upcasters() -> Upcasters {
    #[derive(Deserialize)]
    struct V1 {
        user_id: String,
        street: String,
        city: String,
        country: Option<String>,
    }
    #[derive(Serialize)]
    struct V2 {
        customer_id: String,
        address: Address,
    }
    Upcasters::new().upcast_typed("AddressUpdated", 1, |old: V1| {
        let V1 { user_id, street, city, country } = old;
        let address = Address { street, city, country: country.unwrap_or_else(usa) };
        V2 { customer_id: user_id, address }
    })
}

fn usa() -> String {
    "USA".to_owned()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "customer", event = CustomerEvent)]
pub struct Customer {
    pub address: Option<Address>,
}

impl Apply<CustomerEvent> for Customer {
    fn apply(&mut self, AddressUpdated { address, .. }: CustomerEvent) {
        self.address = Some(address);
    }
}

/// Parcels go there from now on: to the USA unless said otherwise.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAddress {
    #[serde(skip)]
    #[validate(custom(function = "plain"))]
    pub customer_id: String,
    #[validate(custom(function = "line"))]
    pub street: String,
    #[validate(custom(function = "line"))]
    pub city: String,
    #[validate(custom(function = "line"))]
    pub country: String,
}

impl Default for UpdateAddress {
    fn default() -> Self {
        let (customer_id, street, city) = Default::default();
        Self { customer_id, street, city, country: usa() }
    }
}

impl Command<Customer> for UpdateAddress {
    type Error = Infallible;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn authorise(&self, _: &Customer, context: &Context) -> Result<(), Denied> {
        let own = context.who() == Some(&self.customer_id);
        Denied::unless(own, "customers change their own address only; say who you are in X-Actor")
    }

    fn decide(self, customer: &Customer) -> Result<Vec<CustomerEvent>, Infallible> {
        let Self { customer_id, street, city, country } = self;
        let address = Address { street, city, country };
        if customer.address.as_ref() == Some(&address) {
            return Ok(vec![]);
        }
        Ok(vec![AddressUpdated { customer_id, address }])
    }
}

/// The rule for a line of an address.
fn line(text: &str) -> Result<(), ValidationError> {
    let has_text = !text.trim().is_empty() && !text.chars().any(char::is_control);
    let is_line = has_text && text.len() <= 200;
    let message = "must be one line of 1 to 200 bytes";
    let broken = || ValidationError::new("line").with_message(message.into());
    is_line.then_some(()).ok_or_else(broken)
}
