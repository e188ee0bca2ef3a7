use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Letter;

/// Everything one service knows of one story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The service.
    pub service: String,
    /// Now, by its database's clock.
    pub now: Timestamp,
    /// Its events, in the order in which they were recorded, 500 at most.
    pub events: Vec<Event>,
    /// Its calls to the outside.
    pub effects: Vec<Effect>,
    /// Its messages that wait or are dead.
    pub letters: Vec<Letter>,
}

/// One recorded event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The stream.
    pub stream: String,
    /// Its version in the stream.
    pub version: i64,
    /// Record type.
    pub record: String,
    /// Its message id.
    pub id: String,
    /// The message that caused it.
    pub cause: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// Its body; null when it cannot be decoded.
    pub body: Value,
}

/// A page of calls to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Now, by the database's clock.
    pub now: Timestamp,
    /// The calls, in the order in which they were asked for.
    pub data: Vec<Effect>,
    /// `after` of the next page.
    pub next: Option<i64>,
}

/// One call to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its number.
    pub id: i64,
    /// The stream it belongs to.
    pub stream: String,
    /// The step it performs.
    pub step: String,
    /// The story.
    pub correlation: String,
    /// `pending`, `calling`, `unknown`, `done`, `dropped` or `dead`.
    pub state: String,
    /// Failed rounds so far.
    pub attempt: i32,
    /// When it is called again, if it is open.
    pub due_at: Timestamp,
}
