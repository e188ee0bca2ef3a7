//! Load on the running system from outside, by its public HTTP interface, and what it says about it.
//!
//! - [`grocery`]: a month of real shopping baskets, with the refusals that must happen and the conservation check.
//! - [`orders`]: one-line orders, a chosen number in flight or a chosen rate, after the broker has been warmed.
//!
//! Everything below is in three layers: what is sent ([`data`], [`wire`]), how ([`client`], [`load`], [`flight`], [`watch`]), and what is
//! told ([`latency`], [`cpu`], [`reader`], [`conservation`], [`outcomes`], [`report`]).

pub mod client;
pub mod conservation;
pub mod cpu;
pub mod data;
pub mod flight;
pub mod grocery;
pub mod latency;
pub mod load;
pub mod orders;
pub mod outcomes;
pub mod progress;
pub mod reader;
pub mod report;
pub mod system;
pub mod watch;
pub mod wire;
