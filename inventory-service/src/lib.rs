//! inventory-service: the catalogue, the stock of each product, and the holds that orders have on it.
//!
//! [`routes()`] is the table of what it handles; rules are in crate `inventory_domain`. Answers and facts go to
//! `inventory.events`; HTTP lists products and takes new products and receipts.

mod handlers;
mod http;
mod replay;
mod routes;
mod service;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
pub mod wire;

pub use routes::routes;
pub use service::Inventory;
pub use store::Rows;
