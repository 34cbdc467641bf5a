//! The shop as it is used: over HTTP, and as a program.

mod binary;
mod client;
mod contention;
mod derived;
mod domain;
mod hostile;
mod http;
mod past;
mod served;
mod shapes;
