//! Tokens of an issuer that a test plays, over real sockets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helper functions of tests fail by panicking")]

mod attacks;
mod door;
mod issuer;
mod keys;
mod providers;
