//! order-service as it runs: real PostgreSQL, Kafka and registry; the other two services are played by the tests.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed expectation in a helper is a failed test")]

mod conventions;
mod operate;
mod participant;
mod placing;
mod proxy;
mod reading;
mod routes;
mod saga_paths;
mod world;
