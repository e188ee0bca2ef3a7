//! The saga machine: paths one by one, every interleaving of bounded inputs, and random histories.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed expectation in a helper is a failed test")]

mod definition;
mod explore;
mod paths;
mod properties;
mod support;
