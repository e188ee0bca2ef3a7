//! The bench against a gateway made of nothing but its interface, in this process.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

mod client;
mod fake;
mod reader;
mod runs;
mod topic;
