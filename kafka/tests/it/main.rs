//! The runtime on a real Kafka, registry and PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helper functions of tests fail the test"
)]

mod bench;
mod consumer;
mod effects;
mod example;
mod relay;
mod retry;
mod support;
