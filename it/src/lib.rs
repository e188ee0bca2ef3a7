//! Whole-system proof: the checker that judges a running system from outside, and the log of requests it judges by.
//!
//! [`checker`] reads an HTTP log ([`httplog`]), every topic and every database, and proves the invariants I1 to I10.
//! The system tests are in `tests/it/`.

pub mod checker;
pub mod httplog;
