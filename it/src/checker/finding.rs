//! What the checker says.

use std::fmt;
use std::io;

/// One of the promises of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No acknowledged order lost.
    I1,
    /// No double order.
    I2,
    /// Stock conserved.
    I3,
    /// Money conserved.
    I4,
    /// Every order ends.
    I5,
    /// Versions contiguous.
    I6,
    /// Database = log.
    I7,
    /// Exactly once on the topic.
    I8,
    /// No ghost.
    I9,
    /// Cause before effect, one effect per command.
    I10,
}

impl Invariant {
    /// What it promises.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::I1 => "nothing acknowledged is lost",
            Self::I2 => "no double order",
            Self::I3 => "stock conserved",
            Self::I4 => "money conserved",
            Self::I5 => "every order ends",
            Self::I6 => "versions contiguous",
            Self::I7 => "database = log",
            Self::I8 => "exactly once on the topic",
            Self::I9 => "no ghost",
            Self::I10 => "cause before effect",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}")) // so that a width is obeyed
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What it is about: orders, SKUs, message ids, streams, rows. The most telling first.
    pub ids: Vec<String>,
    /// What is wrong.
    pub text: String,
}

/// The verdict on one invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub invariant: Invariant,
    /// How many comparisons were made; 0 means that nothing was proved.
    pub checked: u64,
    /// What broke it.
    pub violations: Vec<Violation>,
    /// What could not be judged, and why.
    pub note: Option<String>,
}

impl Finding {
    pub(crate) fn new(invariant: Invariant) -> Self {
        Self { invariant, checked: 0, violations: Vec::new(), note: None }
    }

    /// Counts one comparison; a failed one is a violation about `ids`.
    pub(crate) fn check<const N: usize>(&mut self, holds: bool, ids: impl FnOnce() -> [String; N], text: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violations.push(Violation { ids: ids().into(), text: text() });
        }
    }

    /// A comparison that failed.
    pub(crate) fn broken<const N: usize>(&mut self, ids: [String; N], text: String) {
        self.check(false, || ids, || text);
    }
}

/// The whole verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each invariant, in order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is broken.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.violations.is_empty())
    }

    /// Writes a line for each invariant and below it its first `shown` violations with their ids.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut impl io::Write, shown: usize) -> io::Result<()> {
        for finding in &self.findings {
            let verdict = match (finding.violations.len(), finding.checked) {
                (0, 0) => "not checked".to_owned(),
                (0, _) => "ok".to_owned(),
                (broken, _) => format!("VIOLATED {broken} times"),
            };
            writeln!(out, "{:<4} {:<30} {:>10} checked  {verdict}", finding.invariant, finding.invariant.title(), finding.checked)?;
            if let Some(note) = &finding.note {
                writeln!(out, "       {note}")?;
            }
            for violation in finding.violations.iter().take(shown) {
                writeln!(out, "       {}  [{}]", violation.text, violation.ids.join(", "))?;
            }
            if finding.violations.len() > shown {
                writeln!(out, "       … and {} more", finding.violations.len() - shown)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text, 10).map_err(|_unwritable| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&text))
    }
}
