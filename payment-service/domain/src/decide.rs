use values::Money;

use crate::{Cause, Effects, Event, Fact, Payment, Progress, Step};

/// A message about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An order was placed: set its total aside.
    OrderPlaced {
        /// The order's total.
        total: Money,
        /// Whether it came with a card.
        card: Card,
    },
    /// Take the money.
    Capture {
        /// What to take.
        amount: Money,
        /// Whether it came with a card: it is used if the order has not arrived yet.
        card: Card,
    },
    /// Give everything back (`VoidPayment` or `RefundPayment`: what was done decides which of the two it becomes).
    Void,
    /// The message that asks for the authorisation died after its last attempt: it must not be made any more.
    GiveUpAuthorize {
        /// Stable code of the last failure.
        code: String,
    },
    /// The message that asks for the capture died after its last attempt.
    GiveUpCapture {
        /// Stable code of the last failure.
        code: String,
    },
}

/// Whether a message came with something to charge. The card's token itself is sealed and never enters a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// It came with a token.
    Given,
    /// It did not.
    Missing,
}

/// What a decision writes, all of it in one transaction: first the drops, then the asks, and the facts in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Effects that must not be called any more.
    pub drop: Vec<Step>,
    /// Effects to call, in this order, behind those already asked for.
    pub ask: Vec<Ask>,
    /// Events to publish.
    pub facts: Vec<Fact>,
}

/// A call to ask of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Set `amount` aside.
    Authorize {
        /// The amount.
        amount: Money,
    },
    /// Take `amount`.
    Capture {
        /// The amount.
        amount: Money,
    },
    /// Give everything back.
    Void,
}

impl Ask {
    /// The step it is.
    #[must_use]
    pub const fn step(self) -> Step {
        match self {
            Self::Authorize { .. } => Step::Authorize,
            Self::Capture { .. } => Step::Capture,
            Self::Void => Step::Void,
        }
    }
}

impl Decision {
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    pub(crate) fn ask(ask: impl Into<Vec<Ask>>) -> Self {
        Self { ask: ask.into(), ..Self::default() }
    }

    pub(crate) fn fact(cause: Cause, event: Event) -> Self {
        Self { facts: vec![Fact { cause, event }], ..Self::default() }
    }
}

/// What `command`, known by its message id `cause`, makes happen. A repeat makes nothing happen.
#[must_use]
pub fn decide(state: &Payment, effects: &Effects, cause: Cause, command: &Command) -> Decision {
    if state.is_undone() || effects.void.is_some() {
        return Decision::nothing();
    }
    match command {
        Command::OrderPlaced { total, card } => order_placed(state, effects, *total, *card),
        Command::Capture { amount, card } => capture(state, effects, cause, *amount, *card),
        Command::Void => Decision { drop: drops(effects), ..Decision::ask([Ask::Void]) },
        Command::GiveUpAuthorize { code } => {
            // A capture that overtook its order asked for the authorisation itself.
            if *state == Payment::None && effects.authorize.is_none() {
                Decision::fact(cause, failed(Step::Authorize, code))
            } else {
                Decision::nothing()
            }
        }
        Command::GiveUpCapture { code } => give_up_capture(state, effects, cause, code),
    }
}

/// What a capture that died leaves: an answer that fences it off. An authorisation under way goes on; the void that follows undoes it.
fn give_up_capture(state: &Payment, effects: &Effects, cause: Cause, code: &str) -> Decision {
    if effects.capture.is_some() {
        return Decision::nothing();
    }
    match state {
        Payment::None | Payment::Authorized { .. } => Decision::fact(cause, failed(Step::Capture, code)),
        Payment::Declined { code, told, failed } if !told.contains(&cause) => Decision::fact(cause, not_authorized(code, *failed)),
        Payment::Declined { .. }
        | Payment::CaptureFailed { .. }
        | Payment::Captured { .. }
        | Payment::Voided { .. }
        | Payment::Refunded { .. } => Decision::nothing(),
    }
}

fn order_placed(state: &Payment, effects: &Effects, total: Money, card: Card) -> Decision {
    if *state != Payment::None || effects.authorize.is_some() {
        return Decision::nothing();
    }
    match card {
        Card::Given => Decision::ask([Ask::Authorize { amount: total }]),
        // Without a card only the capture can say what to do: it may bring one.
        Card::Missing => Decision::nothing(),
    }
}

fn capture(state: &Payment, effects: &Effects, cause: Cause, amount: Money, card: Card) -> Decision {
    if effects.capture.is_some() {
        return Decision::nothing();
    }
    match state {
        Payment::None => match (effects.authorize, card) {
            // Topics are not ordered between each other: the order may still be on its way.
            (None, Card::Given) => Decision::ask([Ask::Authorize { amount }, Ask::Capture { amount }]),
            (None, Card::Missing) => Decision::fact(cause, Event::Declined { code: "payment_token_missing".to_owned() }),
            (Some(_), Card::Given | Card::Missing) => Decision::ask([Ask::Capture { amount }]),
        },
        Payment::Authorized { amount: authorized } => {
            if authorized.currency() == amount.currency() && amount.minor() <= authorized.minor() {
                Decision::ask([Ask::Capture { amount }])
            } else {
                Decision::fact(cause, failed(Step::Capture, "amount_not_authorized"))
            }
        }
        Payment::Declined { code, told, failed } if !told.contains(&cause) => Decision::fact(cause, not_authorized(code, *failed)),
        Payment::Declined { .. }
        | Payment::CaptureFailed { .. }
        | Payment::Captured { .. }
        | Payment::Voided { .. }
        | Payment::Refunded { .. } => Decision::nothing(),
    }
}

/// What a void takes out of the queue: calls that are not under way. One that is comes first, and the void undoes it.
fn drops(effects: &Effects) -> Vec<Step> {
    let waiting = |step: &Step| effects.get(*step).is_some_and(|asked| matches!(asked.progress, Progress::Pending | Progress::Unknown));
    [Step::Authorize, Step::Capture].into_iter().filter(waiting).collect()
}

/// What a capture is told whose authorisation was declined, or died.
pub(crate) fn not_authorized(code: &str, died: bool) -> Event {
    if died { failed(Step::Capture, code) } else { Event::Declined { code: code.to_owned() } }
}

pub(crate) fn failed(step: Step, code: &str) -> Event {
    Event::StepFailed { step: step.as_str().to_owned(), code: code.to_owned() }
}
