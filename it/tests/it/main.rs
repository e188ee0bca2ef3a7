//! The system as a whole: real Kafka, registry, PostgreSQL and our own processes, driven over HTTP and judged by the checker.
//!
//! All tests share one running system (`system`). A test that only uses it runs beside others; a test that stops, kills or
//! reconfigures parts of it runs alone. Whoever is last to leave has the checker judge everything that happened so far.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

mod arrival;
mod baskets;
mod cancels;
mod client;
mod crashes;
mod deadlines;
mod doctor;
mod door;
mod edge;
mod gate;
mod grants;
mod groups;
mod idempotency;
mod judge;
mod observability;
mod operators;
mod ops_port;
mod paths;
mod personal;
mod reader;
mod refusals;
mod rights;
mod system;
mod traces;
mod wait;
