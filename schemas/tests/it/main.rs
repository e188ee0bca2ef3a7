//! The schemas as others meet them: on topics, as bytes, and against their own history.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helper functions of tests stop at the first surprise")]

mod gate;
mod history;
mod round_trip;
mod topics;
mod value;
