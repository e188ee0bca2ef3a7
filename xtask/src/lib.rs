//! The project's chores. A library so that `cargo test` runs the checks too.

pub mod check;
pub mod lint;
pub mod schemas;

use std::{fmt, io};

/// Where a chore tells what it did: one line each.
#[derive(Debug)]
pub struct Report<W = io::Stdout>(W);

impl<W: io::Write> Report<W> {
    /// Lines go to `writer`.
    pub fn new(writer: W) -> Self {
        Self(writer)
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The writer fails.
    pub fn line(&mut self, line: impl fmt::Display) -> anyhow::Result<()> {
        writeln!(self.0, "{line}")?;
        Ok(())
    }
}
