//! One file per message: wire to domain, one decision, done.

pub(crate) mod capture_payment;
pub(crate) mod order_placed;
pub(crate) mod refund_payment;
pub(crate) mod void_payment;

use kafka::effects::State;
use kafka::{Cause, EffectRow, Failure, Meta, Needs, Unit};
use payment_domain::{Ask, Asked, Command, Decision, Effects, Fact, Payment, Progress, Step, decide, entries, evolve};
use schemas::common::Sealed;
use uuid::Uuid;

use crate::calls::{Request, SealedToken};
use crate::store::Books;
use crate::wire::{self, PaymentRecord};

/// The stream of an order's payment.
pub(crate) fn payment_stream(order: Uuid) -> String {
    format!("payment-{order}")
}

/// The saga that the payment's steps belong to: the keys of its effects follow from it.
pub(crate) fn saga(order: Uuid) -> String {
    format!("saga-{order}")
}

/// What every decision about a payment needs loaded.
fn ask(order: Uuid, needs: &mut Needs<Books>) {
    let stream = payment_stream(order);
    needs.effects(stream.clone());
    needs.stream(stream);
}

/// Decides `command` and writes what follows. `token` is what an authorisation asked for now would charge.
fn handle(unit: &mut Unit<Books>, meta: &Meta, order: Uuid, command: &Command, token: Option<&Sealed>) -> Result<(), Failure> {
    let state: Payment = unit.state(&payment_stream(order))?;
    let effects = effects(unit, order);
    let decision = decide(&state, &effects, meta.id.uuid().into(), command);
    if *command == Command::Void && !decision.ask.is_empty() {
        // Everything asked for so far: what waits is dropped, what is being called gets the void as its undo.
        unit.undo_effects(&payment_stream(order))?;
    }
    apply(unit, order, &state, effects, decision, token)
}

/// Writes a decision: asks of the provider, then events with their projections.
pub(crate) fn apply(
    unit: &mut Unit<Books>,
    order: Uuid,
    before: &Payment,
    mut effects: Effects,
    decision: Decision,
    token: Option<&Sealed>,
) -> Result<(), Failure> {
    let stream = payment_stream(order);
    let cause = unit.cause()?.clone();
    for step in decision.drop {
        if let Some(asked) = effects.get(step) {
            effects.set(step, Asked { progress: Progress::Dropped, ..asked });
        }
    }
    for ask in decision.ask {
        let request = match (ask, token) {
            (Ask::Authorize { amount }, Some(token)) => Request::Authorize { amount, token: SealedToken::from(token) },
            (Ask::Authorize { .. }, None) => return Err(Failure::permanent("no_token", format!("authorize {stream} without a token"))),
            (Ask::Capture { amount }, _) => Request::Capture { amount },
            (Ask::Void, _) => Request::Void,
        };
        unit.effect(&saga(order), &stream, ask.step().as_str(), &request)?;
        effects.set(ask.step(), Asked { cause: cause.id.uuid().into(), progress: Progress::Pending });
    }
    unit.work.remember(order, effects);
    let mut state = before.clone();
    for fact in decision.facts {
        because(unit, &cause, &fact, &effects);
        state = publish(unit, order, &stream, state, &fact)?;
    }
    Ok(())
}

/// A fact may answer another message than the one at hand: a decline also ends the capture queued behind it.
fn because(unit: &mut Unit<Books>, cause: &Cause, fact: &Fact, effects: &Effects) {
    if fact.cause.get() == cause.id.uuid() {
        return;
    }
    let step =
        [Step::Authorize, Step::Capture, Step::Void].into_iter().find(|step| effects.get(*step).is_some_and(|e| e.cause == fact.cause));
    unit.because(Cause {
        id: fact.cause.get().into(),
        correlation: cause.correlation.clone(),
        step: step.map(Step::as_str),
        trace: cause.trace,
    });
}

fn publish(unit: &mut Unit<Books>, order: Uuid, stream: &str, before: Payment, fact: &Fact) -> Result<Payment, Failure> {
    let booked = entries(&before, &fact.event);
    let state = evolve(before, fact);
    let key = order.to_string();
    match wire::record(order, &fact.event, unit.now()) {
        PaymentRecord::Authorized(record) => unit.append(stream, &key, &record, &state)?,
        PaymentRecord::Captured(record) => unit.append(stream, &key, &record, &state)?,
        PaymentRecord::Declined(record) => unit.append(stream, &key, &record, &state)?,
        PaymentRecord::Voided(record) => unit.append(stream, &key, &record, &state)?,
        PaymentRecord::Refunded(record) => unit.append(stream, &key, &record, &state)?,
        PaymentRecord::StepFailed(record) => unit.append(stream, &key, &record, &state)?,
    };
    let version = unit.version(stream)?;
    unit.work.book(order, version, &booked);
    unit.work.project(order, &state);
    Ok(state)
}

/// The payment's effects as the decisions of this unit so far leave them.
pub(crate) fn effects(unit: &Unit<Books>, order: Uuid) -> Effects {
    if let Some(effects) = unit.work.remembered(order) {
        return effects;
    }
    let mut effects = Effects::default();
    for row in unit.effects(&payment_stream(order)) {
        if let Some(step) = step(row) {
            effects.set(step, Asked { cause: row.cause.uuid().into(), progress: progress(row.state) });
        }
    }
    effects
}

fn step(row: &EffectRow) -> Option<Step> {
    [Step::Authorize, Step::Capture, Step::Void].into_iter().find(|step| step.as_str() == row.step)
}

fn progress(state: State) -> Progress {
    match state {
        State::Pending => Progress::Pending,
        State::Calling => Progress::Calling,
        State::Unknown => Progress::Unknown,
        // A call that was given up has told its saga: for what is decided next it is over.
        State::Done | State::Dead => Progress::Done,
        State::Dropped => Progress::Dropped,
    }
}
