//! The judge: proves the invariants I1 to I10 of a running system from outside.
//!
//! It reads three things: the log of what clients were told ([`crate::httplog`]), every topic as a `read_committed` and as
//! a `read_uncommitted` reader sees it, and the databases with a role that may only read. [`collect`] does the reading and
//! yields a plain [`World`]; the ten functions [`i1`] to [`i10`] are pure.
//!
//! On purpose it uses nothing of crate `kafka`, nor the generated types: it decodes Avro with the schemas the registry
//! answers and reads headers and tables by their published names, so that a mistake in the runtime cannot hide itself
//! here. It judges a system at rest: after a quiet period, with nothing in flight.

mod cause;
mod chain;
pub mod collect;
mod finding;
mod headers;
mod history;
mod message;
mod money;
mod orders;
mod stock;
mod story;
#[cfg(test)]
mod tests;
pub mod world;

pub use cause::i10;
pub use chain::{i8, i9};
pub use finding::{Finding, Invariant, Report, Violation};
pub use headers::{Headers, Src};
pub use history::{i6, i7};
pub use message::{Body, Line, Money, Placed, Units};
pub use money::i4;
pub use orders::{i1, i2, i5};
pub use stock::i3;
pub use world::World;

/// All ten findings, I1 first.
#[must_use]
pub fn check(world: &World) -> Report {
    Report { findings: vec![i1(world), i2(world), i3(world), i4(world), i5(world), i6(world), i7(world), i8(world), i9(world), i10(world)] }
}
