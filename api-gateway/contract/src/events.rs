use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, Problem, limits, page::parameters};

/// One thing that happened to an order, as its stream tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderEvent {
    /// Its place in the order's story, counted from 1 without gaps: the `id` of the event in the stream.
    #[schema(minimum = 1)]
    pub sequence: u64,
    /// What happened, e.g. `OrderPlaced`, `SagaStepRecorded`, `OrderConfirmed`: the `event` in the stream.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    #[schema(value_type = String, format = "date-time")]
    pub at: Timestamp,
    /// The step of the order's saga it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The state which that step reached, or the outcome of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened to an order behind a place in its story; how order-service tells the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvents {
    /// In their order, without gaps.
    pub events: Vec<OrderEvent>,
    /// Nothing follows any more.
    pub ended: bool,
}

/// The query of the internal `GET /internal/orders/{id}/events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsQuery {
    /// The last event that is known already; 0 for none.
    pub after: u64,
    /// How long to wait for one that is not.
    pub wait: Duration,
}

impl EventsQuery {
    /// Reads `query`, the part of the URL behind the question mark: `after` and `wait_ms`.
    ///
    /// # Errors
    /// `invalid_query`.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let [after, wait_ms] = parameters(query, ["after", "wait_ms"])?;
        let number = |text: Option<String>| match text {
            None => Ok(0),
            Some(text) => text.parse::<u64>().map_err(|_not_a_number| Problem::new(Code::InvalidQuery)),
        };
        let wait = Duration::from_millis(number(wait_ms)?).min(Duration::from_secs(limits::WAIT_SECONDS_MAX));
        Ok(Self { after: number(after)?, wait })
    }
}
