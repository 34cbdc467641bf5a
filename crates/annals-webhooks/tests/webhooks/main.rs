//! Webhooks against receivers on the loopback.

mod address;
mod delivery;
mod disabling;
mod payload;
mod registration;
mod running;
mod shapes;
mod together;
mod world;
