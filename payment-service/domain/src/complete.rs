use values::Money;

use crate::decide::{failed, not_authorized};
use crate::{Cause, Decision, Effects, Event, Fact, Payment, Step};

/// What the provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The amount is set aside.
    Authorized {
        /// The amount.
        amount: Money,
    },
    /// The card was refused.
    Declined {
        /// Why, as a stable code.
        code: String,
    },
    /// The authorisation cannot be made, now or later.
    AuthorizeFailed {
        /// Why, as a stable code.
        code: String,
    },
    /// The amount is taken.
    Captured {
        /// The amount.
        amount: Money,
    },
    /// The capture cannot be made, now or later. What was set aside stays until a void.
    CaptureFailed {
        /// Why, as a stable code.
        code: String,
    },
    /// Nothing was taken, nothing is set aside, nothing will be.
    Voided,
    /// What was taken is given back.
    Refunded {
        /// The amount.
        amount: Money,
    },
}

impl Outcome {
    /// The step it answers.
    #[must_use]
    pub const fn step(&self) -> Step {
        match self {
            Self::Authorized { .. } | Self::Declined { .. } | Self::AuthorizeFailed { .. } => Step::Authorize,
            Self::Captured { .. } | Self::CaptureFailed { .. } => Step::Capture,
            Self::Voided | Self::Refunded { .. } => Step::Void,
        }
    }
}

/// The provider's books and ours differ. Nothing is published: the call stays open, loudly, until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider answered {outcome:?} to a payment that is {payment:?}")]
pub struct Disagreement {
    /// What the provider says.
    pub outcome: Outcome,
    /// What we know.
    pub payment: Payment,
}

/// What the provider's answer to a call makes happen. An answer to a call that is not under way (a late one, after the call
/// was made again and answered) makes nothing happen; so does any answer but the void's once a void was asked for.
///
/// # Errors
/// [`Disagreement`] when the answer contradicts what was published.
pub fn complete(state: &Payment, effects: &Effects, outcome: &Outcome) -> Result<Decision, Disagreement> {
    let Some(cause) = effects.calling(outcome.step()) else {
        return Ok(Decision::nothing());
    };
    if state.is_undone() || (effects.void.is_some() && outcome.step() != Step::Void) {
        return Ok(Decision::nothing());
    }
    let disagreement = || Disagreement { outcome: outcome.clone(), payment: state.clone() };
    match outcome {
        Outcome::Authorized { amount } => match state {
            Payment::None | Payment::CaptureFailed { amount: None, .. } => Ok(Decision::fact(cause, Event::Authorized { amount: *amount })),
            Payment::Authorized { .. }
            | Payment::CaptureFailed { amount: Some(_), .. }
            | Payment::Captured { .. }
            | Payment::Declined { .. }
            | Payment::Voided { .. }
            | Payment::Refunded { .. } => Err(disagreement()),
        },
        Outcome::Declined { code } => declined(state, effects, cause, code, false).ok_or_else(disagreement),
        Outcome::AuthorizeFailed { code } => declined(state, effects, cause, code, true).ok_or_else(disagreement),
        Outcome::Captured { amount } => match state {
            Payment::Authorized { amount: authorized }
                if authorized.currency() == amount.currency() && amount.minor() <= authorized.minor() =>
            {
                Ok(Decision::fact(cause, Event::Captured { amount: *amount }))
            }
            Payment::Authorized { .. }
            | Payment::None
            | Payment::CaptureFailed { .. }
            | Payment::Captured { .. }
            | Payment::Declined { .. }
            | Payment::Voided { .. }
            | Payment::Refunded { .. } => Err(disagreement()),
        },
        Outcome::CaptureFailed { code } => match state {
            Payment::Authorized { .. } => Ok(Decision::fact(cause, failed(Step::Capture, code))),
            Payment::None
            | Payment::CaptureFailed { .. }
            | Payment::Captured { .. }
            | Payment::Declined { .. }
            | Payment::Voided { .. }
            | Payment::Refunded { .. } => Err(disagreement()),
        },
        Outcome::Voided => match state {
            Payment::None | Payment::Authorized { .. } | Payment::CaptureFailed { .. } | Payment::Declined { .. } => {
                Ok(Decision::fact(cause, Event::Voided))
            }
            Payment::Captured { .. } | Payment::Voided { .. } | Payment::Refunded { .. } => Err(disagreement()),
        },
        Outcome::Refunded { amount } => match state {
            Payment::Captured { captured, .. } if captured == amount => Ok(Decision::fact(cause, Event::Refunded { amount: *amount })),
            // The capture was under way when the void was asked for, so it was never published: for our readers nothing
            // was taken, and nothing may be given back twice.
            Payment::None | Payment::Authorized { .. } | Payment::CaptureFailed { .. } => Ok(Decision::fact(cause, Event::Voided)),
            Payment::Captured { .. } | Payment::Declined { .. } | Payment::Voided { .. } | Payment::Refunded { .. } => Err(disagreement()),
        },
    }
}

/// The authorisation ended without money: a capture queued behind it ends too, told by an event of its own if another message asked for it.
fn declined(state: &Payment, effects: &Effects, cause: Cause, code: &str, died: bool) -> Option<Decision> {
    if !matches!(state, Payment::None | Payment::CaptureFailed { amount: None, .. }) {
        return None;
    }
    let event = if died { failed(Step::Authorize, code) } else { Event::Declined { code: code.to_owned() } };
    let mut decision = Decision::fact(cause, event);
    if let Some(asked_by) = effects.waiting(Step::Capture) {
        decision.drop.push(Step::Capture);
        if asked_by != cause {
            decision.facts.push(Fact { cause: asked_by, event: not_authorized(code, died) });
        }
    }
    Some(decision)
}
