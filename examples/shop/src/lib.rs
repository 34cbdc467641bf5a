//! A shop made with `annals`: orders, inventory, customers and invoices, over HTTP.
//!
//! [`order`], [`item`], [`invoice`], [`customer`], [`account`] and [`product`] are the domain, one file
//! for each aggregate, which knows nothing of stores and requests. [`shop`] does what concerns
//! several of them; [`derived`] follows the log with what is listed and searched. [`http`] has the
//! routes, [`serve`] runs them; [`demo`] and [`storm`] are what the program can do besides.

#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod account;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod customer;
pub mod demo;
pub mod derived;
pub mod http;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod invoice;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod item;
pub mod naming;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod order;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod product;
pub mod serve;
pub mod shop;
pub mod storm;
mod whole;
