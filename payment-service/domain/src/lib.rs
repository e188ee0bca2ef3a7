//! What payments decides, without IO: the payment of one order, from the authorisation to the capture or back to nothing.
//!
//! Money moves at the provider, and calls to the provider are effects: rows that are written with the decision and called
//! afterwards, one at a time per payment, in the order they were asked for. So a payment is known from two sources:
//!
//! - [`Payment`], the fold of the published [`Event`]s: what is certain, and what a lost database comes back with;
//! - [`Effects`], what was asked of the provider and is perhaps not answered yet: it comes in as a value.
//!
//! [`decide`] takes a message and says what to ask for; [`complete`] takes the provider's answer and says what to publish.
//! The laws, shown by the properties beside this crate:
//!
//! - **Undo wins.** Once a void was asked for, nothing is published but its answer, whatever completes in between.
//! - **A void is always asked of the provider**, by the authorisation's key, also when there seems to be nothing: the provider
//!   blocks a key that it has not seen, so that a call still on its way finds a closed door.
//! - **A payment has one end.** However many voids and refunds are asked for, one `PaymentVoided` or `PaymentRefunded` answers.
//! - **Money is conserved**: refunded ≤ captured ≤ authorised, and a void leaves nothing open.
#![deny(clippy::arithmetic_side_effects, missing_docs)]

mod complete;
mod decide;
mod effects;
mod event;
mod ledger;
mod payment;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use complete::{Disagreement, Outcome, complete};
pub use decide::{Ask, Card, Command, Decision, decide};
pub use effects::{Asked, Effects, Progress, Step};
pub use event::{Cause, Event, Fact};
pub use ledger::{Account, Entry, entries};
pub use payment::{Payment, evolve};
