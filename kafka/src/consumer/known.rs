//! What this member knows to be parked in its partitions, so that nothing is asked of the database while nothing is.
//!
//! Only the owner of a partition blocks a key of it or parks a message from it, in transactions that its epoch guards;
//! everybody else (operators, compensations) only takes out. So what the owner remembers, from the take-over on, is never
//! too little; where it is too much, one statement more is made.

use std::collections::HashSet;

use crate::retry::store::TopicKey;

/// Beyond this everything counts as perhaps parked.
const MOST: usize = 100_000;

/// Keys and stories that are perhaps parked.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    keys: HashSet<TopicKey>,
    stories: HashSet<String>,
    /// Too many to remember.
    many: bool,
}

impl Known {
    pub(super) fn new(keys: Vec<TopicKey>, stories: Vec<String>) -> Self {
        let mut known = Self::default();
        keys.into_iter().for_each(|key| known.blocked(key));
        stories.into_iter().for_each(|story| known.parked(story));
        known
    }

    /// Rows that tell whether there are too many.
    pub(super) fn limit() -> i64 {
        i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1)
    }

    pub(super) fn blocked(&mut self, key: TopicKey) {
        if self.keys.len() < MOST {
            self.keys.insert(key);
        } else {
            self.many = true;
        }
    }

    pub(super) fn parked(&mut self, story: String) {
        if self.stories.len() < MOST {
            self.stories.insert(story);
        } else {
            self.many = true;
        }
    }

    pub(super) fn freed(&mut self, keys: &[TopicKey]) {
        for key in keys {
            self.keys.remove(key);
        }
    }

    /// Nothing can be told without asking.
    pub(super) fn ask_always(&mut self) {
        self.many = true;
    }

    /// Whether so much is remembered that it is worth reading anew.
    pub(super) fn overgrown(&self) -> bool {
        self.keys.len().saturating_add(self.stories.len()) >= MOST / 2
    }

    /// Whether there is anything to ask about at all.
    pub(super) fn nothing(&self) -> bool {
        self.keys.is_empty() && self.stories.is_empty() && !self.many
    }

    pub(super) fn maybe_blocked(&self, key: &TopicKey) -> bool {
        self.many || self.keys.contains(key)
    }

    pub(super) fn maybe_parked(&self, story: &str) -> bool {
        self.many || self.stories.contains(story)
    }
}
