#![doc = include_str!("docs/dcb.md")]

#[doc = include_str!("docs/courses.md")]
pub mod courses {}

#[doc = include_str!("docs/usernames.md")]
pub mod usernames {}

#[doc = include_str!("docs/invoices.md")]
pub mod invoices {}

#[doc = include_str!("docs/opt_in.md")]
pub mod opt_in {}

#[doc = include_str!("docs/prices.md")]
pub mod prices {}

#[doc = include_str!("docs/duplicates.md")]
pub mod duplicates {}
