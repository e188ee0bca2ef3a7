//! Latencies: kept whole, so that percentiles are exact, and told in milliseconds.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// Latencies of one kind.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

/// What is told of them, milliseconds. Percentiles are nearest-rank: each is a latency that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were recorded.
    pub count: usize,
    /// Half are at most this.
    pub p50_ms: f64,
    /// 95 of 100 are at most this.
    pub p95_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their percentiles; `None` when nothing was recorded.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let max = *sorted.last()?;
        let at = |percent| nearest_rank(&sorted, percent).unwrap_or(max);
        Some(Percentiles {
            count: sorted.len(),
            p50_ms: millis(at(50)),
            p95_ms: millis(at(95)),
            p99_ms: millis(at(99)),
            max_ms: millis(max),
        })
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        Self(latencies.into_iter().collect())
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A duration in milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// `count` in `elapsed`, per second; 0 when no time has passed.
#[must_use]
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds <= 0.0 { 0.0 } else { f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds }
}

/// From `earlier` to `later`; `None` when the clocks say it went backwards.
#[must_use]
pub fn between(earlier: Timestamp, later: Timestamp) -> Option<Duration> {
    Duration::try_from(later.duration_since(earlier)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        millis.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let hundred = of((1..=100).rev()).percentiles().unwrap();
        assert_eq!((hundred.count, hundred.p50_ms, hundred.p95_ms, hundred.p99_ms, hundred.max_ms), (100, 50.0, 95.0, 99.0, 100.0));
        let four = of([4, 1, 3, 2]).percentiles().unwrap();
        assert_eq!((four.p50_ms, four.p95_ms, four.p99_ms), (2.0, 4.0, 4.0));
        let one = of([7]).percentiles().unwrap();
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (7.0, 7.0, 7.0));
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        assert_eq!(Latencies::default().percentiles(), None);
    }

    #[test]
    fn a_rate_needs_time_to_pass() {
        assert!(per_second(10, Duration::ZERO).abs() < f64::EPSILON);
        assert!((per_second(10, Duration::from_secs(4)) - 2.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn percentiles_rise_and_stay_inside(values in prop::collection::vec(0_u64..1_000_000, 1..500)) {
            let told = of(values.iter().copied()).percentiles().unwrap();
            prop_assert!(told.p50_ms <= told.p95_ms && told.p95_ms <= told.p99_ms && told.p99_ms <= told.max_ms);
            let not_above = values.iter().filter(|value| Duration::from_millis(**value) <= Duration::from_secs_f64(told.p50_ms / 1e3)).count();
            prop_assert!(not_above * 2 + 1 >= values.len());
        }
    }
}
