//! One input of an order's saga: what the machine decides, written into the unit of work.

use std::sync::Arc;

use kafka::{Failure, History, Micros, Needs, Recorded, Replay, Unit};
use order_domain::{AUTHORIZE, CAPTURE, COMMIT, HOLD, Order, PricedLine};
use saga::{Action, Decision, Definition, Event, Input, State, Status, StepState, Turn, awaited, message_name};
use schemas::{inventory, payments};
use uuid::Uuid;
use values::OrderId;

use crate::store::{OrderChange, Rows, SagaChange, SagaStatus};
use crate::wire::{self, SagaRecord};

/// The saga of every order, ready to take inputs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderSaga {
    definition: Arc<Definition>,
}

/// The stream of an order.
#[must_use]
pub fn order_stream(id: OrderId) -> String {
    format!("order-{id}")
}

/// The stream of an order's saga.
#[must_use]
pub fn saga_stream(id: OrderId) -> String {
    format!("saga-{id}")
}

/// The order whose saga has this stream.
#[must_use]
pub fn order_of(saga_stream: &str) -> Option<OrderId> {
    saga_stream.strip_prefix("saga-")?.parse().ok()
}

impl OrderSaga {
    /// Sagas under `definition`.
    #[must_use]
    pub fn new(definition: Definition) -> Self {
        Self { definition: Arc::new(definition) }
    }

    /// The definition they run under.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Names what deciding about this order needs loaded.
    pub fn needs(id: OrderId, needs: &mut Needs<Rows>) {
        needs.stream(order_stream(id));
        needs.stream(saga_stream(id));
    }

    /// Begins the saga of an order placed in this unit, with `lines` to be held.
    ///
    /// # Errors
    /// Permanent: a defect.
    pub fn start(&self, unit: &mut Unit<Rows>, id: OrderId, lines: &[PricedLine]) -> Result<(), Failure> {
        self.turn(unit, id, &Input::Start, Some(lines))
    }

    /// Takes one input. Nothing is written for one that is duplicate, late or about an order we do not have.
    ///
    /// # Errors
    /// Permanent: the stored state is of another definition, or a defect.
    pub fn take(&self, unit: &mut Unit<Rows>, id: OrderId, input: &Input) -> Result<(), Failure> {
        self.turn(unit, id, input, None)
    }

    /// Decides what it means that a deadline ran out, if what is awaited now was due before `before`. The runtime has disarmed
    /// it; what is still awaited is armed again.
    ///
    /// # Errors
    /// As [`OrderSaga::take`].
    pub fn deadline(&self, unit: &mut Unit<Rows>, id: OrderId, before: Micros) -> Result<(), Failure> {
        let stream = saga_stream(id);
        let state: State = unit.state(&stream)?;
        if let Some(armed) = state.armed()
            && armed.at < before
        {
            self.take(unit, id, &Input::deadline(armed.step))?;
        }
        let state: State = unit.state(&stream)?;
        unit.deadline(&stream, state.armed().map(|armed| (armed.step, armed.at)));
        Ok(())
    }

    fn turn(&self, unit: &mut Unit<Rows>, id: OrderId, input: &Input, lines: Option<&[PricedLine]>) -> Result<(), Failure> {
        let stream = saga_stream(id);
        let before: State = unit.state(&stream)?;
        self.check_shape(&stream, &before)?;
        let turn = saga::advance(&self.definition, before.clone(), input, unit.now());
        if turn.events.is_empty() {
            return Ok(());
        }
        append(unit, id, &stream, &before, &turn)?;
        for action in &turn.actions {
            match action {
                Action::Send { step, compensation, .. } => {
                    if *compensation {
                        unit.count("saga_compensations_total", "step", step.to_string());
                    }
                    send(unit, id, &stream, step, *compensation, lines)?;
                }
                Action::Decide(decision) => decide(unit, id, decision)?,
            }
        }
        match (before.armed(), turn.state.armed()) {
            // One that is armed for earlier stays as it is: when it runs out, what is awaited by then is armed.
            (Some(earlier), Some(armed)) if earlier.at <= armed.at => {}
            (None, None) => {}
            (_, armed) => unit.deadline(&stream, armed.map(|armed| (armed.step, armed.at))),
        }
        if turn.state.status() == Status::Stuck && before.status() != Status::Stuck {
            tracing::error!(order.id = %id, cause = turn.state.cause().unwrap_or_default(), "saga is stuck: a late answer moves it on, or a person (ops saga)");
        }
        let now = unit.now();
        if let (Status::Ended(outcome), false) = (turn.state.status(), matches!(before.status(), Status::Ended(_))) {
            unit.took("saga_duration_seconds", "outcome", outcome.as_str(), seconds_since(id, now));
        }
        self.project(&mut unit.work, id, (&before, &turn.state), &turn.events, now);
        Ok(())
    }

    /// Folds a saga from all its events and projects its row, turn by turn as it was written: what one cause recorded is one turn.
    ///
    /// # Errors
    /// Permanent: the history is none of ours.
    pub fn replay(&self, history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
        let id = order_of(history.stream()).ok_or_else(|| history.unreadable("is not the saga of an order"))?;
        let mut state = State::default();
        for turn in history.events().chunk_by(|one, next| one.cause() == next.cause()) {
            let before = state.clone();
            let mut events = Vec::with_capacity(turn.len());
            for recorded in turn {
                let event = wire::read_saga(history, recorded)?;
                state = saga::evolve(state, &event);
                events.push(event);
            }
            let at = turn.last().map(Recorded::at).unwrap_or_default();
            self.project(replay.work, id, (&before, &state), &events, at);
        }
        self.check_shape(history.stream(), &state)?;
        if let Some(armed) = state.armed() {
            replay.deadline(armed.step, armed.at);
        }
        if !awaited(&self.definition, &state).is_empty() {
            replay.awaits();
        }
        replay.state(&state)
    }

    /// Names what [`OrderSaga::send_awaited`] needs loaded.
    pub fn awaited_needs(id: OrderId, needs: &mut Needs<Rows>) {
        Self::needs(id, needs);
        needs.work.lines.insert(id);
    }

    /// Sends the commands whose answers the saga awaits, with the ids they always had.
    ///
    /// # Errors
    /// Permanent: a defect.
    pub fn send_awaited(&self, unit: &mut Unit<Rows>, id: OrderId) -> Result<(), Failure> {
        let stream = saga_stream(id);
        let state: State = unit.state(&stream)?;
        let lines = unit.work.lines(id).map(<[PricedLine]>::to_vec);
        for next in awaited(&self.definition, &state) {
            send(unit, id, &stream, next.step, next.compensation, lines.as_deref())?;
        }
        Ok(())
    }

    /// An instance finishes under the shape it started with; a shape we do not have any more must not be guessed at.
    fn check_shape(&self, stream: &str, state: &State) -> Result<(), Failure> {
        match state.shape() {
            Some(shape) if shape != (self.definition.name(), self.definition.shape_version()) => {
                Err(Failure::permanent("saga_shape_unknown", format!("{stream} runs under {} version {}", shape.0, shape.1)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Projects one turn, which ended at the instant `at`.
    fn project(&self, work: &mut Rows, id: OrderId, (before, after): (&State, &State), events: &[Event], at: Micros) {
        let Some(status) = listed(after.status()) else { return };
        let step =
            awaited(&self.definition, after).into_iter().chain(awaited(&self.definition, before)).next().map_or(HOLD, |next| next.step);
        let stuck_reason = events.iter().rev().find_map(stuck_reason);
        if listed(before.status()) == Some(status) && before.cause() == after.cause() && stuck_reason.is_none() {
            return; // a step forward: the list shows where sagas turned, their streams where they are
        }
        let stuck_at = (status == SagaStatus::Stuck).then_some(at);
        work.saga(id, SagaChange { status, step, cause: after.cause().map(str::to_owned), stuck_reason, stuck_at });
        if status == SagaStatus::Ended {
            work.order(id).ended_at = Some(at);
        }
    }
}

/// Folds an order from all its events and projects its row and the key it was placed with.
///
/// # Errors
/// Permanent: the history is none of ours.
pub fn replay_order(history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
    let id = history.stream().strip_prefix("order-").and_then(|id| id.parse::<OrderId>().ok());
    let id = id.ok_or_else(|| history.unreadable("is not the stream of an order"))?;
    let mut order = Order::None;
    for recorded in history.events() {
        let record = wire::read_order(history, recorded)?;
        let event = wire::order_event(&record).map_err(|error| history.unreadable(error))?;
        order = order_domain::evolve(order, &event);
        match (record, event) {
            (wire::OrderRecord::Placed(record), order_domain::Event::Placed(placed)) => {
                replay.work.replaced(id, placed, record.idempotency);
            }
            (_, order_domain::Event::Confirmed { .. } | order_domain::Event::Cancelled { .. } | order_domain::Event::Placed(_)) => {
                replay.work.redecide(id, &order, recorded.version());
            }
        }
    }
    replay.state(&order)
}

/// The order's id was drawn when it was asked for: a version 7 id, whose milliseconds it carries.
fn seconds_since(id: OrderId, at: Micros) -> f64 {
    let placed_ms = Uuid::from(id).get_timestamp().map_or(0, |placed| {
        let (seconds, nanos) = placed.to_unix();
        seconds.saturating_mul(1_000).saturating_add(u64::from(nanos) / 1_000_000)
    });
    let took_ms = (at / 1_000).saturating_sub(i64::try_from(placed_ms).unwrap_or(i64::MAX)).max(0);
    f64::from(u32::try_from(took_ms).unwrap_or(u32::MAX)) / 1_000.0
}

/// A saga's status as it is listed; none before it starts.
fn listed(status: Status) -> Option<SagaStatus> {
    match status {
        Status::NotStarted => None,
        Status::Running | Status::InDoubt | Status::Compensating => Some(SagaStatus::Running),
        Status::Stuck => Some(SagaStatus::Stuck),
        Status::Ended(_) => Some(SagaStatus::Ended),
    }
}

/// Why the event left its saga stuck, if it did.
fn stuck_reason(event: &Event) -> Option<String> {
    match event {
        Event::StepRecorded { state: StepState::Stuck | StepState::UndoStuck, reason, .. } => reason.clone(),
        Event::StepRecorded { .. } | Event::Started { .. } | Event::Ended { .. } => None,
    }
}

fn append(unit: &mut Unit<Rows>, id: OrderId, stream: &str, before: &State, turn: &Turn) -> Result<(), Failure> {
    let key = id.to_string();
    let mut state = before.clone();
    for event in &turn.events {
        state = saga::evolve(state, event);
        match wire::saga_record(id, event) {
            SagaRecord::Started(record) => unit.append(stream, &key, &record, &state)?,
            SagaRecord::Step(record) => unit.append(stream, &key, &record, &state)?,
            SagaRecord::Ended(record) => unit.append(stream, &key, &record, &state)?,
        };
    }
    Ok(())
}

fn send(
    unit: &mut Unit<Rows>,
    id: OrderId,
    saga: &str,
    step: &str,
    compensation: bool,
    lines: Option<&[PricedLine]>,
) -> Result<(), Failure> {
    let (order_id, key, name) = (Uuid::from(id), id.to_string(), message_name(step, compensation));
    match (step, compensation) {
        (HOLD, false) => {
            let lines = wire::hold_lines(lines.ok_or_else(|| defect(saga, "the hold is sent again without its lines"))?);
            unit.send(saga, &name, &key, &inventory::CreateInventoryHold { order_id, lines })?;
        }
        (HOLD, true) => {
            unit.send(saga, &name, &key, &inventory::ReleaseInventoryHold { order_id })?;
        }
        (AUTHORIZE, true) => {
            unit.send(saga, &name, &key, &payments::VoidPayment { order_id })?;
        }
        (CAPTURE, false) => {
            let capture = capture(unit, id)?;
            unit.send(saga, &name, &key, &capture)?;
        }
        (COMMIT, false) => {
            unit.send(saga, &name, &key, &inventory::CommitInventoryHold { order_id })?;
        }
        (other, _) => return Err(defect(saga, &format!("no command for step {other}"))),
    }
    Ok(())
}

fn capture(unit: &mut Unit<Rows>, id: OrderId) -> Result<payments::CapturePayment, Failure> {
    let stream = order_stream(id);
    match unit.state(&stream)? {
        Order::Pending { total, payment_token } => Ok(payments::CapturePayment {
            order_id: id.into(),
            amount: wire::money(total),
            payment_token: payment_token.as_ref().and_then(wire::sealed),
        }),
        Order::None | Order::Confirmed | Order::Cancelled { .. } => Err(defect(&stream, "the payment of an order that is not pending")),
    }
}

/// The saga's decision becomes the order's.
fn decide(unit: &mut Unit<Rows>, id: OrderId, decision: &Decision) -> Result<(), Failure> {
    let stream = order_stream(id);
    let mut order: Order = unit.state(&stream)?;
    let command = order_domain::command(decision, unit.now());
    let events = order_domain::decide(&order, &command).map_err(|rejection| defect(&stream, &rejection.to_string()))?;
    for event in &events {
        order = order_domain::evolve(order, event);
        let key = id.to_string();
        match event {
            order_domain::Event::Placed(_) => return Err(defect(&stream, "a saga places no order")),
            order_domain::Event::Confirmed { at } => unit.append(&stream, &key, &wire::order_confirmed(id, *at), &order)?,
            order_domain::Event::Cancelled { reason, at } => {
                unit.append(&stream, &key, &wire::order_cancelled(id, *reason, *at), &order)?
            }
        };
    }
    let version = unit.version(&stream)?;
    let change: &mut OrderChange = unit.work.order(id);
    change.decide(&order, version);
    Ok(())
}

/// Order and saga contradict each other: their streams were not written by this machine.
fn defect(stream: &str, what: &str) -> Failure {
    Failure::permanent("saga_defect", format!("{stream}: {what}"))
}
