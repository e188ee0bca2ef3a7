//! What order-service decides, without IO: the order and the definition of its saga.
//!
//! An [`Order`] is placed with priced [`Lines`], then confirmed or cancelled, once. [`order_saga`] is the business transaction around it; the machine in
//! crate `saga` runs it, and its decision becomes the order's next [`Command`].
#![deny(missing_docs, clippy::arithmetic_side_effects)]

mod lines;
mod order;
mod order_saga;

pub use lines::{Line, Lines, LinesFault};
pub use order::{
    Basket, CancelReason, Command, Event, Order, Placed, Placement, PricedLine, Rejection, SealedValue, UnknownReason, decide, evolve,
};
pub use order_saga::{AUTHORIZE, CAPTURE, COMMIT, HOLD, command, order_saga, reason};
