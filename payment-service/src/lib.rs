//! payment-service: authorises, captures and gives back the money of orders at the payment provider.
//!
//! [`routes`] is the table of what it handles; rules are in crate `payment_domain`; the provider is a port with a simulator
//! behind it, see [`provider`].

pub mod provider;
