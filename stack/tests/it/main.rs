#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod command;
mod infrastructure;
