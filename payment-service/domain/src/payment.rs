use serde::{Deserialize, Serialize};
use values::Money;

use crate::{Cause, Event, Fact, Step};

/// What is certain about the payment of one order: the fold of its published events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "payment", rename_all = "snake_case")]
pub enum Payment {
    /// Nothing is published yet; something may have been asked for.
    #[default]
    None,
    /// An amount is set aside.
    Authorized {
        /// The amount.
        amount: Money,
    },
    /// The capture died. What was set aside, or still will be by a call under way, stays until the void that follows.
    CaptureFailed {
        /// The amount set aside, if any.
        amount: Option<Money>,
        /// The capture, which was told so.
        #[serde(default)]
        told: Option<Cause>,
    },
    /// There is no authorisation and there will be none.
    Declined {
        /// Why, as a stable code.
        code: String,
        /// The messages that were told so, none of them twice.
        told: Vec<Cause>,
        /// It died rather than being declined: the provider may hold something all the same, until the void that follows.
        #[serde(default)]
        failed: bool,
    },
    /// The money is taken.
    Captured {
        /// What had been set aside.
        authorized: Money,
        /// What was taken.
        captured: Money,
    },
    /// Undone before anything was taken.
    Voided {
        /// What had been set aside, if anything.
        authorized: Option<Money>,
    },
    /// Undone after it was taken.
    Refunded {
        /// What had been set aside.
        authorized: Money,
        /// What was taken, and given back.
        captured: Money,
    },
}

impl Payment {
    /// Whether the undo was answered: nothing changes a payment after that.
    #[must_use]
    pub const fn is_undone(&self) -> bool {
        match self {
            Self::Voided { .. } | Self::Refunded { .. } => true,
            Self::None | Self::Authorized { .. } | Self::CaptureFailed { .. } | Self::Declined { .. } | Self::Captured { .. } => false,
        }
    }

    /// What is set aside right now.
    #[must_use]
    pub const fn open_authorization(&self) -> Option<Money> {
        match self {
            Self::Authorized { amount } => Some(*amount),
            Self::CaptureFailed { amount, .. } => *amount,
            Self::None | Self::Declined { .. } | Self::Captured { .. } | Self::Voided { .. } | Self::Refunded { .. } => None,
        }
    }
}

/// Who has been told how it ended: `cause` now, and a capture that died before.
fn told(before: &Payment, cause: Cause) -> Vec<Cause> {
    let earlier = if let Payment::CaptureFailed { told, .. } = before { *told } else { None };
    std::iter::once(cause).chain(earlier.filter(|earlier| *earlier != cause)).collect()
}

/// The state after `fact`. Total: any stored history replays; what no decision publishes changes nothing.
#[must_use]
pub fn evolve(state: Payment, fact: &Fact) -> Payment {
    let Fact { cause, event } = fact;
    match (state, event) {
        (Payment::None, Event::Authorized { amount }) => Payment::Authorized { amount: *amount },
        (Payment::Authorized { amount }, Event::Captured { amount: captured }) => {
            Payment::Captured { authorized: amount, captured: *captured }
        }
        (Payment::Authorized { amount }, Event::StepFailed { step, .. }) if step == Step::Capture.as_str() => {
            Payment::CaptureFailed { amount: Some(amount), told: Some(*cause) }
        }
        (Payment::None, Event::StepFailed { step, .. }) if step == Step::Capture.as_str() => {
            Payment::CaptureFailed { amount: None, told: Some(*cause) }
        }
        (Payment::CaptureFailed { amount: None, told }, Event::Authorized { amount }) => {
            Payment::CaptureFailed { amount: Some(*amount), told }
        }
        (state @ (Payment::None | Payment::CaptureFailed { amount: None, .. }), Event::Declined { code }) => {
            Payment::Declined { code: code.clone(), told: told(&state, *cause), failed: false }
        }
        (state @ (Payment::None | Payment::CaptureFailed { amount: None, .. }), Event::StepFailed { step, code })
            if step == Step::Authorize.as_str() =>
        {
            Payment::Declined { code: code.clone(), told: told(&state, *cause), failed: true }
        }
        (Payment::Declined { code, mut told, failed }, Event::Declined { .. } | Event::StepFailed { .. }) => {
            if !told.contains(cause) {
                told.push(*cause);
            }
            Payment::Declined { code, told, failed }
        }
        (Payment::Captured { authorized, captured }, Event::Refunded { .. }) => Payment::Refunded { authorized, captured },
        (
            state @ (Payment::None | Payment::Declined { .. } | Payment::Authorized { .. } | Payment::CaptureFailed { .. }),
            Event::Voided,
        ) => Payment::Voided { authorized: state.open_authorization() },
        (
            state,
            Event::Authorized { .. }
            | Event::Captured { .. }
            | Event::Declined { .. }
            | Event::Voided
            | Event::Refunded { .. }
            | Event::StepFailed { .. },
        ) => state,
    }
}
