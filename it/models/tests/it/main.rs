//! The promises hold in every state, and fall when a defence does.
#![expect(clippy::print_stdout, clippy::panic, reason = "what was searched and found is for people; helpers fail the test")]

mod broken;
mod page;
mod promises;
