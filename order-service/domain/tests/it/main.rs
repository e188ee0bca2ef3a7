//! The order and its saga: given / when / then, properties, and every interleaving with modelled participants.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation in a helper is a failed test")]

mod model;
mod order;
mod paths;
