//! How long a failed message waits, how often, and the names of the topics that say so.

use std::time::Duration;

/// The delays of a consumer group's retry tiers, and after how many failed tries a message is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    delays: Vec<Duration>,
    attempts_max: i32,
}

/// Why a configuration of tiers was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a list of whole numbers.
    #[error("retry_delays_ms {0:?} is not a list of milliseconds")]
    NotNumbers(String),
    /// No tier, or one without a delay, or one shorter than the one before.
    #[error("retry_delays_ms {0:?} must rise from above 0")]
    NotRising(String),
    /// A message would be given up before every tier was used, or never.
    #[error("retry_attempts_max {0} must be between {1} and 1000")]
    Attempts(i32, usize),
}

/// Source: DESIGN 2.
const DEFAULT_DELAYS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(5)];

impl Default for Tiers {
    fn default() -> Self {
        Self { delays: DEFAULT_DELAYS.to_vec(), attempts_max: 4 }
    }
}

impl Tiers {
    /// Reads `5000,30000,300000`. `attempts_max` counts all tries, the first one included; `None` gives one try a tier
    /// after the first.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(delays_ms: &str, attempts_max: Option<i32>) -> Result<Self, Invalid> {
        let delays: Vec<Duration> = delays_ms
            .split(',')
            .map(|part| part.trim().parse().map(Duration::from_millis))
            .collect::<Result<_, _>>()
            .map_err(|_not_a_number| Invalid::NotNumbers(delays_ms.to_owned()))?;
        let rises = delays.iter().scan(Duration::ZERO, |last, delay| Some(std::mem::replace(last, *delay) < *delay)).all(|rises| rises);
        if delays.is_empty() || !rises {
            return Err(Invalid::NotRising(delays_ms.to_owned()));
        }
        let least = i32::try_from(delays.len()).unwrap_or(i32::MAX).saturating_add(1);
        let attempts_max = attempts_max.unwrap_or(least);
        if !(least..=1_000).contains(&attempts_max) {
            return Err(Invalid::Attempts(attempts_max, delays.len().saturating_add(1)));
        }
        Ok(Self { delays, attempts_max })
    }

    /// The delays, shortest first.
    #[must_use]
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// Tries in all before a message is given up.
    #[must_use]
    pub fn attempts_max(&self) -> i32 {
        self.attempts_max
    }

    /// The wait after failed try number `attempt` (from 1); the last tier repeats. `None` when it was the last try, unless
    /// the message is tried without end.
    #[must_use]
    pub fn after(&self, attempt: i32, endless: bool) -> Option<Duration> {
        if !endless && attempt >= self.attempts_max {
            return None;
        }
        let tier = usize::try_from(attempt.saturating_sub(1)).unwrap_or_default();
        self.delays.get(tier).or(self.delays.last()).copied()
    }

    /// The longest wait, which is repeated where there is no last try.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.delays.last().copied().unwrap_or_default()
    }

    /// All waits until a message is given up, together.
    #[must_use]
    pub fn total(&self) -> Duration {
        (1..self.attempts_max).filter_map(|attempt| self.after(attempt, false)).sum()
    }
}

/// How a delay is written in a topic's name: the largest unit that fits without a rest.
#[must_use]
pub fn tier_name(delay: Duration) -> String {
    let (ms, seconds) = (delay.as_millis(), delay.as_secs());
    if !ms.is_multiple_of(1_000) {
        format!("{ms}ms")
    } else if seconds.is_multiple_of(3_600) {
        format!("{}h", seconds / 3_600)
    } else if seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

/// The topic of one tier.
#[must_use]
pub(crate) fn retry_topic(group: &str, delay: Duration) -> String {
    format!("{group}.retry.{}", tier_name(delay))
}

/// The topic of a group's dead letters.
#[must_use]
pub fn dlq_topic(group: &str) -> String {
    format!("{group}.dlq")
}

/// The topic of what was decided about a group's dead letters.
#[must_use]
pub fn decisions_topic(group: &str) -> String {
    format!("{group}.dlq.decisions")
}

/// Whether a failure topic is one of timers, not of letters.
#[must_use]
pub(crate) fn is_timer(topic: &str) -> bool {
    topic.contains(".retry.")
}

/// The retry topics of a group, shortest delay first.
#[must_use]
pub(crate) fn retry_topics(settings: &super::Settings) -> Vec<String> {
    settings.tiers.delays.iter().map(|delay| retry_topic(&settings.group, *delay)).collect()
}

/// Every topic a group's failures need: its tiers, its dead letters, the decisions about them.
#[must_use]
pub fn topic_names(group: &str, tiers: &Tiers) -> Vec<String> {
    let retry = tiers.delays.iter().map(|delay| retry_topic(group, *delay));
    retry.chain([dlq_topic(group), decisions_topic(group)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_use_the_largest_unit() {
        let names: Vec<String> = topic_names("orders", &Tiers::default());
        assert_eq!(names, ["orders.retry.5s", "orders.retry.30s", "orders.retry.5m", "orders.dlq", "orders.dlq.decisions"]);
        assert_eq!([200, 1_000, 90_000, 7_200_000].map(|ms| tier_name(Duration::from_millis(ms))), ["200ms", "1s", "90s", "2h"]);
    }

    #[test]
    fn each_try_waits_in_the_next_tier_and_the_last_one_repeats() {
        let tiers = Tiers::parse("200, 1000,5000", Some(6)).unwrap();
        let waits: Vec<Option<u128>> = (1..=7).map(|attempt| tiers.after(attempt, false).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(200), Some(1_000), Some(5_000), Some(5_000), Some(5_000), None, None]);
        assert_eq!(tiers.after(99, true), Some(Duration::from_secs(5)));
        assert_eq!(tiers.total(), Duration::from_millis(16_200));
        assert_eq!(Tiers::default().total(), Duration::from_secs(335));
    }

    #[test]
    fn tiers_that_cannot_work_are_refused() {
        for wrong in ["", "5,x", "0", "5,5", "30,5"] {
            assert!(Tiers::parse(wrong, None).is_err(), "{wrong:?}");
        }
        assert_eq!(Tiers::parse("1,2", Some(2)), Err(Invalid::Attempts(2, 3)));
    }
}
