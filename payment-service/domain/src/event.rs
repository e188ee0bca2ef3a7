use serde::{Deserialize, Serialize};
use uuid::Uuid;
use values::Money;

/// The id of the message that made something happen: `causation-id` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub(crate) Uuid);

impl Cause {
    /// The message's id.
    #[must_use]
    pub const fn get(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for Cause {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// What happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The amount is set aside on the card.
    Authorized {
        /// The amount.
        amount: Money,
    },
    /// The amount is taken; what else was set aside falls back to the card.
    Captured {
        /// The amount.
        amount: Money,
    },
    /// There is no authorisation and there will be none.
    Declined {
        /// Why, as a stable code.
        code: String,
    },
    /// Nothing is set aside or taken, and nothing will be.
    Voided,
    /// What was taken is given back.
    Refunded {
        /// The amount.
        amount: Money,
    },
    /// A step died: it will not be tried again.
    StepFailed {
        /// The step, see [`crate::Step::as_str`].
        step: String,
        /// Why, as a stable code.
        code: String,
    },
}

/// An event with the message it answers. Published events carry it in a header, so a fold may look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The message it answers.
    pub cause: Cause,
    /// What happened.
    pub event: Event,
}
