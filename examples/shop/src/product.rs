//! A product of the catalogue: what an item is called, and what it is offered for, in cents.

use annals::{Aggregate, Apply, Command, Event, FieldErrors, RecordedEvent};
use annals_search::{Edit, Fields, SearchProjection};
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::{Validate, ValidationError};

use self::ProductEvent::{ProductAdded, ProductPriceChanged, ProductRemoved};
use crate::item::PRICE_MAX;
use crate::naming::{Sku, plain};
use crate::whole::whole;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum ProductEvent {
    ProductAdded { product_id: Sku, name: String, price: u64 },
    ProductPriceChanged { product_id: Sku, new_price: u64 },
    ProductRemoved { product_id: Sku },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "product", event = ProductEvent, id = Sku)]
pub struct Product {
    /// What it is called; nothing while it is not in the catalogue.
    pub name: Option<String>,
    pub price: u64,
}

impl Apply<ProductEvent> for Product {
    fn apply(&mut self, event: ProductEvent) {
        match event {
            ProductAdded { name, price, .. } => *self = Self { name: Some(name), price },
            ProductPriceChanged { new_price, .. } => self.price = new_price,
            ProductRemoved { .. } => *self = Self::default(),
        }
    }
}

/// Puts a product into the catalogue, or offers it for another price.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Offer {
    #[serde(skip)]
    #[validate(custom(function = "plain"))]
    pub sku: Sku,
    #[validate(custom(function = "title"))]
    pub name: String,
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = PRICE_MAX))]
    pub price: u64,
}

/// Takes a product out of the catalogue.
#[derive(Clone, Debug)]
pub struct Remove {
    pub sku: Sku,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProductRefusal {
    #[error("there is no such product in the catalogue")]
    NotFound,
    #[error("it is called {name:?}; remove it first, to give it another name")]
    OtherName { name: String },
}
use ProductRefusal::{NotFound, OtherName};

impl Command<Product> for Offer {
    type Error = ProductRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, product: &Product) -> Result<Vec<ProductEvent>, ProductRefusal> {
        let Self { sku: product_id, name, price } = self;
        Ok(match &product.name {
            None => vec![ProductAdded { product_id, name, price }],
            Some(present) if *present != name => {
                return Err(OtherName { name: present.clone() });
            }
            Some(_) if product.price == price => vec![],
            Some(_) => vec![ProductPriceChanged { product_id, new_price: price }],
        })
    }
}

impl Command<Product> for Remove {
    type Error = ProductRefusal;

    fn decide(self, product: &Product) -> Result<Vec<ProductEvent>, ProductRefusal> {
        product.name.as_ref().ok_or(NotFound)?;
        Ok(vec![ProductRemoved { product_id: self.sku }])
    }
}

/// The rule for a product's name.
fn title(text: &str) -> Result<(), ValidationError> {
    let has_text = !text.trim().is_empty() && !text.chars().any(char::is_control);
    let message = "must be one line of 1 to 200 bytes";
    let broken = || ValidationError::new("title").with_message(message.into());
    (has_text && text.len() <= 200).then_some(()).ok_or_else(broken)
}

/// The catalogue, to be searched.
#[derive(Debug)]
pub struct ProductCatalogue;

impl ProductCatalogue {
    /// What is found by its words.
    #[must_use]
    pub fn fields() -> Fields {
        Fields::new().text("name")
    }
}

impl SearchProjection for ProductCatalogue {
    type Event = ProductEvent;
    const NAME: &'static str = "products";

    fn edits(&self, event: &ProductEvent, _: &RecordedEvent) -> Vec<Edit> {
        vec![match event {
            ProductAdded { product_id, name, price } => {
                Edit::index(product_id.to_string(), json!({ "name": name, "price": price }))
            }
            ProductPriceChanged { product_id, new_price } => {
                Edit::update(product_id.to_string(), json!({ "price": new_price }))
            }
            ProductRemoved { product_id } => Edit::delete(product_id.to_string()),
        }]
    }
}
