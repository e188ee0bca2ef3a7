//! The protocols of relay and consumer as state machines, searched exhaustively for a broken promise.

pub mod relay;
pub mod two;
