//! The saga around an order, as a value.

use saga::{Compensation, Decision, Definition, Invalid, Step};

use crate::{CancelReason, Command};

/// Step: set the units aside.
pub const HOLD: &str = "hold";
/// Step: authorise the payment; `OrderPlaced` triggers it at payment-service.
pub const AUTHORIZE: &str = "authorize";
/// Step and pivot: take the money.
pub const CAPTURE: &str = "capture";
/// Step: the units are the customer's.
pub const COMMIT: &str = "commit";

/// The order saga, shape version 1.
///
/// | answer | input of the machine |
/// |---|---|
/// | `InventoryReserved`, `InventoryRejected` | `hold` done, refused (`out_of_stock`) |
/// | `PaymentDeclined`, from either cause | `authorize` refused (`payment_declined`): whatever was asked of the payment, it has had no effect |
/// | `PaymentCaptured` | `capture` done |
/// | `InventoryHoldCommitted` | `commit` done |
/// | `InventoryHoldReleased` | `hold` undone |
/// | `PaymentVoided`, `PaymentRefunded` | `authorize` undone |
/// | `StepFailed` | its step failed |
///
/// # Errors
/// None in practice: a test builds it.
///
/// Source: DESIGN 3.
pub fn order_saga() -> Result<Definition, Invalid> {
    Definition::new(
        "order",
        1,
        vec![
            Step::command(HOLD, "CreateInventoryHold").compensated_by(Compensation::command("ReleaseInventoryHold")),
            Step::triggered(AUTHORIZE, "OrderPlaced").compensated_by(Compensation::of_outside_effect("VoidPayment")),
            Step::pivot(CAPTURE, "CapturePayment", Some(AUTHORIZE)),
            Step::retriable(COMMIT, "CommitInventoryHold"),
        ],
    )
}

/// What the saga's decision means for the order at the instant `at` (microseconds since the Unix epoch).
#[must_use]
pub fn command(decision: &Decision, at: i64) -> Command {
    match decision {
        Decision::Confirmed => Command::Confirm { at },
        Decision::Cancelled { reason: cause } => Command::Cancel { reason: reason(cause), at },
    }
}

/// The order's reason for the saga's cause. The causes are ours; one that a later version wrote reads as `failed`.
#[must_use]
pub fn reason(cause: &str) -> CancelReason {
    cause.parse().unwrap_or(CancelReason::Failed)
}
