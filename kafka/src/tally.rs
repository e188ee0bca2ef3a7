//! What a unit counts, added to the metrics when it is committed: a unit may be decided several times.

/// One addition.
#[derive(Debug)]
enum Tally {
    Count(&'static str, &'static str, String),
    Took(&'static str, &'static str, String, f64),
}

/// The additions of a unit of work.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Vec<Tally>);

impl Tallies {
    pub(crate) fn count(&mut self, name: &'static str, label: &'static str, value: String) {
        self.0.push(Tally::Count(name, label, value));
    }

    pub(crate) fn took(&mut self, name: &'static str, label: &'static str, value: String, seconds: f64) {
        self.0.push(Tally::Took(name, label, value, seconds));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// The transaction is committed.
    pub(crate) fn add(&mut self) {
        for tally in self.0.drain(..) {
            match tally {
                Tally::Count(name, label, value) => metrics::counter!(name, label => value).increment(1),
                Tally::Took(name, label, value, seconds) => metrics::histogram!(name, label => value).record(seconds),
            }
        }
    }
}
