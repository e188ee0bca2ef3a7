//! payment-service: authorises, captures and gives back the money of orders at the payment provider.
//!
//! [`routes()`] is the table of what it handles; rules are in crate `payment_domain`; the provider is a port with a simulator
//! behind it, see [`provider`]. What the provider is asked goes through the runtime's effects: asked for in the transaction of
//! the decision, called after it, answered in a transaction of its own.

mod calls;
mod handlers;
pub mod provider;
mod replay;
mod routes;
mod service;
mod store;
#[cfg(test)]
mod tests;
pub mod wire;

pub use calls::Calls;
pub use routes::routes;
pub use service::Payments;
pub use store::Books;
