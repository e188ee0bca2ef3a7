//! The command line against played services: what it prints, what it asks, how it ends.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation in a helper is a failed test")]

mod commands;
mod played;
mod rebuild;
mod redrive;
