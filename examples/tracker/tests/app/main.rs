//! The tracker as its users and its neighbours see it: over HTTP, SMTP, and through kills.

mod binary;
mod client;
mod delivering;
mod domain;
mod pages;
mod rules;
mod served;
mod sinks;
