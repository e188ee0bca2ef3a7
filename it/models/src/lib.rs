//! The protocols of relay and consumer as state machines, searched exhaustively for a broken promise.
//!
//! `cargo test -p models` searches every interleaving of two owners (two members), three rows (records), crashes, held-up
//! requests and transactions that become visible out of order or roll back, with the runtime's own pure decisions in the
//! middle: `kafka::relay::plan` and `kafka::consumer::chain`. The protocols as they are keep every promise; without one of
//! their defences the search finds the shortest way into a broken one. docs/decisions/0008-models.md tells three of them.

pub mod cases;
pub mod consumer;
pub mod page;
pub mod relay;
pub mod story;
pub mod two;
