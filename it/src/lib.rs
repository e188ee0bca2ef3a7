//! Whole-system proof: the checker that judges a running system from outside, and the log of requests it judges by.
//!
//! [`checker`] reads an HTTP log ([`httplog`]), every topic and every database, and proves the invariants I1 to I10.
//! The system tests are in `tests/it/`. [`faults`] attacks a system of its own, through the links of [`proxy`], and has the
//! checker judge what is left.

pub mod checker;
pub mod faults;
pub mod httplog;
pub mod proxy;
