//! Breakers of the effects' steps: a step that fails alike so often that the outside must be down is not called, but for a
//! probe, and no try counts meanwhile.

use std::collections::BTreeSet;

use crate::consumer::Windows;

/// What the worker knows of each step's failures.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    windows: Windows,
    open: BTreeSet<&'static str>,
}

impl Breakers {
    /// A call of the step was answered: its breaker closes.
    pub(crate) fn passed(&mut self, step: &'static str) {
        self.windows.passed(step);
        if self.open.remove(step) {
            self.windows.clear(step);
            tracing::info!(step, "breaker closes: a call was answered");
            metrics::gauge!("effect_breaker_open", "step" => step).set(0.0);
        }
    }

    /// A call of the step failed. Whether its breaker is open now.
    pub(crate) fn failed(&mut self, step: &'static str, code: &'static str) -> bool {
        if self.windows.failed(step, code) && self.open.insert(step) {
            tracing::error!(step, code, "breaker opens: too many calls fail alike, one is made each second until one is answered");
            metrics::counter!("effect_breaker_opened_total", "step" => step, "code" => code).increment(1);
            metrics::gauge!("effect_breaker_open", "step" => step).set(1.0);
        }
        self.open.contains(step)
    }

    /// The steps whose breaker is open.
    pub(crate) fn open(&self) -> impl Iterator<Item = &'static str> {
        self.open.iter().copied()
    }
}
