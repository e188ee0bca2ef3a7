//! The breaker: when many messages of one handler fail alike, the fault is not in the messages. Then nothing more is
//! routed away; the handler's messages wait at the head of their partitions until one of them passes. Pure.

/// Outcomes that are looked at.
const WINDOW: u64 = (1 << 50) - 1;
/// Failures alike among them that are still routed; the next one opens the breaker. Source: PROTOCOLS 3, 20 % of 50.
const ROUTED_MAX: u32 = 10;

/// Failures of one handler with one code, as bits: the newest outcome is bit 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    handler: String,
    code: &'static str,
    failed: u64,
}

/// The recent failures of all handlers. Empty while nothing fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Windows(Vec<Window>);

impl Windows {
    /// A message of `handler` was handled.
    pub(crate) fn passed(&mut self, handler: &str) {
        if !self.0.is_empty() {
            self.shift(handler);
        }
    }

    /// A message of `handler` failed with `code`. `true`: it is one too many, and must not be routed away.
    pub(crate) fn failed(&mut self, handler: &str, code: &'static str) -> bool {
        self.shift(handler);
        let window = match self.0.iter_mut().find(|window| window.handler == handler && window.code == code) {
            Some(window) => window,
            None => {
                self.0.push(Window { handler: handler.to_owned(), code, failed: 0 });
                let Some(window) = self.0.last_mut() else { return false };
                window
            }
        };
        window.failed |= 1;
        window.failed.count_ones() > ROUTED_MAX
    }

    /// Forgets what `handler` did.
    pub(crate) fn clear(&mut self, handler: &str) {
        self.0.retain(|window| window.handler != handler);
    }

    fn shift(&mut self, handler: &str) {
        self.0.retain_mut(|window| {
            if window.handler == handler {
                window.failed = (window.failed << 1) & WINDOW;
            }
            window.failed != 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_failure_alike_among_fifty_opens() {
        let mut windows = Windows::default();
        let outcomes: Vec<bool> = (0..11).map(|_| windows.failed("h", "busy")).collect();
        assert_eq!(outcomes.iter().filter(|open| **open).count(), 1);
        assert_eq!(outcomes.last(), Some(&true));
    }

    #[test]
    fn one_failure_in_five_is_routed_for_ever() {
        let mut windows = Windows::default();
        for n in 0..10_000 {
            if n % 5 == 0 {
                assert!(!windows.failed("h", "busy"), "{n}");
            } else {
                windows.passed("h");
            }
        }
    }

    #[test]
    fn failures_of_other_handlers_or_of_other_kinds_do_not_add_up() {
        let mut windows = Windows::default();
        for n in 0..10 {
            for (handler, code) in [("a", "busy"), ("b", "busy"), ("a", "other")] {
                assert!(!windows.failed(handler, code), "{n}");
            }
        }
        assert!(windows.failed("a", "busy"));
        windows.clear("a");
        assert!(!windows.failed("a", "busy"));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut windows = Windows::default();
        assert!(!windows.failed("h", "busy"));
        for _ in 0..50 {
            windows.passed("h");
        }
        assert_eq!(windows, Windows::default());
    }
}
