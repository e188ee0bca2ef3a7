//! Rebuilding a service's lost database.

use serde::{Deserialize, Serialize};

/// Whether a service's database must be rebuilt, and how far that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebuild {
    /// The service.
    pub service: String,
    /// `starting`: it is not known yet. `live`: there is nothing to rebuild. `needed`: its database was lost or given up, nobody is served. `running`. `failed`:
    /// nothing was emitted, it can be started again. `done`: rebuilt by this process, and live.
    pub state: String,
    /// What a rebuild reads; absent while the service is live.
    pub plan: Option<RebuildPlan>,
    /// What it does now, while it runs.
    pub progress: Option<RebuildProgress>,
    /// What it found to hold at its end.
    pub checks: Vec<RebuildCheck>,
    /// Why it failed: a stable code.
    pub code: Option<String>,
    /// The same in words.
    pub error: Option<String>,
}

/// What a rebuild reads, and what it throws away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildPlan {
    /// The incarnation that published last.
    pub published_by: Option<String>,
    /// Events in the database now, of a restored backup for example: they are thrown away.
    pub events_given_up: u64,
    /// The topics, in the order in which they are read.
    pub topics: Vec<RebuildTopic>,
}

/// A topic that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildTopic {
    /// Its name.
    pub topic: String,
    /// `own`: what happened. `letters`: dead letters and decisions about them. `input`: what others said.
    pub role: String,
    /// Offsets on it: its records and what ends their transactions.
    pub offsets: u64,
}

/// How far a rebuild is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildProgress {
    /// What it does.
    pub phase: String,
    /// How much of that is done.
    pub done: u64,
    /// Of how much, about; 0 where that is not known.
    pub total: u64,
    /// How much of it a second, since the phase began.
    pub per_second: f64,
    /// Seconds since the rebuild began.
    pub seconds: f64,
}

/// Something that must hold at the end of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildCheck {
    /// What.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}
