//! The promises hold in every state, and fall when a defence does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail loudly")]

mod broken;
mod page;
mod promises;
