use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A page of sagas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sagas {
    /// Now, by the database's clock.
    pub now: Timestamp,
    /// The sagas, by id.
    pub data: Vec<Saga>,
    /// `after` of the next page.
    pub next: Option<String>,
}

/// One saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    /// The id of its story.
    pub id: String,
    /// `running`, `stuck` or `ended`.
    pub status: String,
    /// The step awaited, or the last one answered.
    pub step: String,
    /// Why it turned back, if it did.
    pub cause: Option<String>,
    /// Why it is stuck: `deadline`, or the code of the participant that gave up.
    pub stuck_reason: Option<String>,
    /// Since when it is stuck.
    pub stuck_at: Option<Timestamp>,
    /// When the awaited answer is overdue.
    pub deadline_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One saga, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaDetail {
    /// The saga.
    #[serde(flatten)]
    pub saga: Saga,
    /// Name of its definition.
    pub definition: String,
    /// Version of the definition's list of steps.
    pub shape_version: u32,
    /// What is settled: `confirmed`, `cancelled`, or nothing yet.
    pub decision: Option<String>,
    /// The messages whose answers it awaits: what resuming sends again.
    pub awaited: Vec<Awaited>,
    /// Its steps, in the order of the definition.
    pub steps: Vec<Step>,
}

/// An awaited answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The step.
    pub step: String,
    /// The command that was sent.
    pub command: String,
    /// Its message id.
    pub message_id: String,
    /// It undoes the step.
    pub compensation: bool,
    /// When the answer is overdue; null if it is.
    pub deadline_at: Option<Timestamp>,
}

/// One step as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub step: String,
    /// Its state; null if its turn has not come.
    pub state: Option<String>,
}

/// What a person does to a stuck saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// Do it; otherwise say what would be done.
    #[serde(default)]
    pub execute: bool,
}

/// What became of a person's data, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Whether it was done, or this is the plan.
    pub executed: bool,
    /// The person.
    pub subject: String,
    /// Keys that were destroyed, or would be; none when nothing was ever stored or it was erased before.
    pub keys: u64,
}

/// What was done to a saga, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Whether it was done, or this is the plan.
    pub executed: bool,
    /// The saga.
    pub id: String,
    /// What is recorded: `step state`.
    pub records: Vec<String>,
    /// The commands that are sent.
    pub sends: Vec<String>,
    /// Its status afterwards.
    pub status: String,
}
