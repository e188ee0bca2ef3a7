//! What a fault run found.

use std::time::Duration;

use super::{Fault, Session};
use crate::checker::Report;

/// Result of one fault.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was done or met, and how often; zero of anything means that the run proves nothing.
    pub reached: Vec<(String, u64)>,
    /// How long the system took to be back, each time.
    pub recoveries: Vec<Duration>,
    /// Measured figures, in words.
    pub figures: Vec<String>,
    /// Everything that is not as it must be.
    pub broken: Vec<String>,
}

impl Outcome {
    /// A run that could not be finished.
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self { broken: vec![why], ..Self::default() }
    }

    /// Counts what was reached.
    pub fn reach(&mut self, what: impl Into<String>, count: u64) {
        self.reached.push((what.into(), count));
    }

    /// Notes what must hold.
    pub fn must(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(text());
        }
    }

    /// Notes the checker's verdict.
    pub fn judged(&mut self, report: &Report) {
        for finding in &report.findings {
            if let Some(first) = finding.violations.first() {
                let ids = first.ids.join(", ");
                self.broken.push(format!(
                    "{} violated {} times, first: {} [{ids}]",
                    finding.invariant,
                    finding.violations.len(),
                    first.text
                ));
            }
        }
        let checked: u64 = report.findings.iter().map(|finding| finding.checked).sum();
        self.figures.push(format!("{checked} comparisons by the checker"));
    }

    /// Whether everything was reached and nothing is broken.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.broken.is_empty() && !self.reached.is_empty() && self.reached.iter().all(|(_, count)| *count > 0)
    }

    /// The slowest recovery; none if nothing had to recover.
    #[must_use]
    pub fn slowest(&self) -> Option<Duration> {
        self.recoveries.iter().max().copied()
    }

    /// One line for a person, and one more for each thing broken.
    #[must_use]
    pub fn line(&self, fault: &Fault, session: &Session) -> String {
        let reached: Vec<String> = self.reached.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let mut parts = vec![format!("reached {}", if reached.is_empty() { "nothing".to_owned() } else { reached.join(", ") })];
        if let Some(slowest) = self.slowest() {
            let mut sorted = self.recoveries.clone();
            sorted.sort();
            let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
            parts.push(format!("recovery p50 {:.1} s, slowest {:.1} s", median.as_secs_f64(), slowest.as_secs_f64()));
        }
        parts.extend(self.figures.iter().cloned());
        let verdict = if self.passed() { "clean" } else { "BROKEN" };
        let mut text =
            format!("{} {} · seed {} · {} · {verdict} · {} s", fault.name, fault.title, session.seed(), parts.join("; "), session.took());
        for broken in &self.broken {
            text.push_str("\n   ");
            text.push_str(broken);
        }
        for (what, _) in self.reached.iter().filter(|(_, count)| *count == 0) {
            text.push_str(&format!("\n   never reached: {what}"));
        }
        text
    }
}
