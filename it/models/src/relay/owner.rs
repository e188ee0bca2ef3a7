//! One owner's steps L1 to L6.

use kafka::relay::plan::{self, BLOCK_IDS, Barrier, Gap, Next, Read, Slot};

use super::broker::{Broker, End, Position};
use super::database::{Database, Snapshot};
use super::{Action, Answer, Relay, State, Switch, clock, frame};
use crate::two::{Nth, Two};

/// A remembered gap: the missing block and its barrier, once drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missing {
    /// The missing block.
    pub block: i64,
    /// xid and highest block seen.
    pub barrier: Option<(u64, i64)>,
}

/// An owner that knows its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Running {
    /// Its epochs.
    pub epochs: Two<u8>,
    /// The producer of the next transaction.
    pub turn: Nth,
    /// What it believes to be published.
    pub position: Position,
    /// The gap it waits for.
    pub missing: Option<Missing>,
    /// The highest block seen, when a barrier is to be drawn.
    pub draw: Option<i64>,
}

/// Where an owner stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Not there, or about to start again at L1.
    Off,
    /// Half of L1.
    Fencing {
        /// Epoch of the first producer.
        epoch: u8,
    },
    /// L1 is done.
    Fenced {
        /// Both epochs.
        epochs: Two<u8>,
    },
    /// Between transactions.
    Idle(Running),
    /// L4.
    Sending {
        /// What it knows; the position is the one before this transaction.
        known: Running,
        /// The ids to send.
        batch: Vec<i64>,
        /// How many are sent.
        sent: usize,
    },
    /// L4 is done.
    Sent {
        /// What it knows; the position is the one after this transaction.
        known: Running,
        /// The cursor before it, to which an abort returns.
        before: Position,
    },
    /// Without the doubt rule: a commit failed.
    Failed {
        /// What it knows; the position is the one before this transaction.
        known: Running,
    },
    /// With the position outside: committed, not yet recorded.
    Unrecorded {
        /// What it knows.
        known: Running,
    },
    /// The plan found the outbox damaged.
    Refusing,
}

impl Owner {
    /// What it knows, once it has a position.
    #[must_use]
    pub const fn known(&self) -> Option<&Running> {
        match self {
            Self::Off | Self::Fencing { .. } | Self::Fenced { .. } | Self::Refusing => None,
            Self::Idle(known)
            | Self::Sending { known, .. }
            | Self::Sent { known, .. }
            | Self::Failed { known }
            | Self::Unrecorded { known } => Some(known),
        }
    }

    pub(super) fn actions(&self, model: &Relay, state: &State, who: Nth, actions: &mut Vec<Action>) {
        let start = *state.broker.epochs.get(Nth::First) < model.starts;
        // While nobody runs it does not matter who starts: the first does.
        if start && (who == Nth::First || state.owners.iter().any(|owner| *owner != Self::Off)) {
            actions.push(Action::InitFirst(who));
        }
        match self {
            Self::Off | Self::Refusing => {}
            Self::Fencing { .. } => actions.push(Action::InitSecond(who)),
            Self::Fenced { .. } => actions.push(Action::ReadPosition(who)),
            Self::Idle(known) => actions.push(if known.draw.is_some() { Action::Draw(who) } else { Action::Read(who) }),
            Self::Sending { batch, sent, .. } if *sent < batch.len() => actions.push(Action::SendRow(who)),
            Self::Sending { .. } => actions.push(Action::SendPosition(who)),
            Self::Sent { .. } => answers(model, state, |answer| Action::Commit(who, answer), actions),
            Self::Failed { .. } => answers(model, state, |answer| Action::Abort(who, answer), actions),
            Self::Unrecorded { .. } => actions.push(Action::RecordPosition(who)),
        }
    }

    /// What becomes of this owner by `action`, and of the world around it.
    pub(super) fn act(self, model: &Relay, state: &mut State, action: Action) -> Option<Self> {
        let broker = &mut state.broker;
        Some(match (self, action) {
            (_, Action::InitFirst(_)) => Self::Fencing { epoch: broker.init(Nth::First) },
            (Self::Fencing { epoch }, Action::InitSecond(_)) => Self::Fenced { epochs: Two::new(epoch, broker.init(Nth::Second)) },
            (Self::Fenced { epochs }, Action::ReadPosition(_)) => {
                Self::Idle(Running { epochs, turn: Nth::First, position: broker.position, missing: None, draw: None })
            }
            (Self::Idle(known), Action::Read(_)) => known.read(model, &state.database),
            (Self::Idle(known), Action::Draw(_)) => {
                let missing = known
                    .missing
                    .zip(known.draw)
                    .map(|(missing, seen)| Missing { barrier: Some((model.barrier(&state.database), seen)), ..missing });
                Self::Idle(Running { missing, draw: None, ..known })
            }
            (Self::Sending { known, batch, sent }, Action::SendRow(_)) => send_row(model, state, known, batch, sent)?,
            (Self::Sending { known, batch, .. }, Action::SendPosition(_)) => {
                let (before, position) = (known.position, after(model, &state.database, &known, &batch)?);
                let known = Running { position, ..known };
                let sent = model.switch == Switch::PositionOutside || known.produce_position(broker);
                if sent { Self::Sent { known, before } } else { Self::Off }
            }
            (Self::Sent { known, before }, Action::Commit(_, answer)) => commit(model, state, known, before, answer),
            (Self::Failed { known }, Action::Abort(_, answer)) => abort(state, known, answer),
            (Self::Unrecorded { known }, Action::RecordPosition(_)) => {
                broker.position = known.position;
                Self::Idle(known)
            }
            (
                Self::Off
                | Self::Fencing { .. }
                | Self::Fenced { .. }
                | Self::Idle(_)
                | Self::Sending { .. }
                | Self::Sent { .. }
                | Self::Failed { .. }
                | Self::Unrecorded { .. }
                | Self::Refusing,
                _,
            ) => return None,
        })
    }
}

impl Relay {
    /// The xid that a gap is settled with.
    fn barrier(&self, database: &Database) -> u64 {
        if self.switch == Switch::SnapshotBarrier { database.read(self.scenario).xmax } else { database.barrier() }
    }
}

impl Running {
    fn epoch(&self) -> u8 {
        *self.epochs.get(self.turn)
    }

    fn produce_position(&self, broker: &mut Broker) -> bool {
        broker.produce_position(self.turn, self.epoch(), self.position).is_ok()
    }

    /// L3.
    fn read(self, model: &Relay, database: &Database) -> Owner {
        let seen = database.read(model.scenario);
        let cursor = self.position.cursor;
        let (batch, missing, draw) = match model.switch {
            Switch::XidOrder => {
                let mut rows: Vec<(u64, i64)> = seen.rows.iter().map(|(slot, xid)| (*xid, slot.id)).collect();
                rows.retain(|(xid, _)| *xid < seen.xmin && i64::try_from(*xid).is_ok_and(|xid| xid > cursor));
                rows.sort_unstable();
                (rows.into_iter().map(|(_, id)| id).collect(), None, None)
            }
            Switch::NaiveIdOrder => (seen.rows.iter().map(|(slot, _)| slot.id).filter(|id| *id > cursor).collect(), None, None),
            Switch::None | Switch::SnapshotBarrier | Switch::NoDoubtRule | Switch::SlowIsGood | Switch::PositionOutside => {
                match self.decide(&seen) {
                    Some(decided) => decided,
                    None => return Owner::Refusing,
                }
            }
        };
        let known = Self { missing, draw, ..self };
        if batch.is_empty() { Owner::Idle(known) } else { Owner::Sending { known, batch, sent: 0 } }
    }

    /// Asks the runtime's own plan: what to send, the gap to remember, and the block to draw a barrier for.
    fn decide(&self, seen: &Snapshot) -> Option<(Vec<i64>, Option<Missing>, Option<i64>)> {
        let (since, now) = clock();
        let slots: Vec<Slot> = seen.rows.iter().map(|(slot, _)| *slot).filter(|slot| slot.id > self.position.cursor).collect();
        let gap = self.missing.map(|missing| Gap {
            block: missing.block,
            since,
            barrier: missing.barrier.map(|(xid, block)| Barrier { xid, block }),
            warned: true,
        });
        let read = Read { slots: &slots, xmin: seen.xmin, truncated: false };
        let plan = plan::plan(self.position.cursor / BLOCK_IDS, gap, read, now).ok()?;
        let batch = slots.iter().take(plan.emit).map(|slot| slot.id).collect();
        let missing = plan.gap.map(|gap| Missing { block: gap.block, barrier: gap.barrier.map(|barrier| (barrier.xid, barrier.block)) });
        let draw = match plan.next {
            Next::Draw { seen } => Some(seen),
            Next::Wait | Next::More | Next::Wider | Next::Gap => None,
        };
        Some((batch, missing, draw))
    }

    /// After a transaction the other producer has its turn.
    fn turned(self) -> Self {
        Self { turn: self.turn.other(), ..self }
    }
}

fn send_row(model: &Relay, state: &mut State, known: Running, batch: Vec<i64>, sent: usize) -> Option<Owner> {
    let (id, earlier) = (*batch.get(sent)?, batch.get(..sent)?);
    let partition = state.database.row(model.scenario, id)?.partition;
    let prev = *after(model, &state.database, &known, earlier)?.prev.get(partition);
    Some(match state.broker.produce(known.turn, known.epoch(), partition, id, prev) {
        Ok(()) => Owner::Sending { known, batch, sent: sent + 1 },
        Err(_fenced) => Owner::Off,
    })
}

/// The position after `batch`.
fn after(model: &Relay, database: &Database, known: &Running, batch: &[i64]) -> Option<Position> {
    let mut position = known.position;
    for id in batch {
        *position.prev.get_mut(database.row(model.scenario, *id)?.partition) = *id;
        position.cursor = if model.switch == Switch::XidOrder {
            let seen = database.read(model.scenario);
            i64::try_from(seen.rows.iter().find(|(slot, _)| slot.id == *id)?.1).ok()?
        } else {
            *id
        };
    }
    Some(position)
}

/// L5 and L6.
fn commit(model: &Relay, state: &mut State, known: Running, before: Position, answer: Answer) -> Owner {
    let request = frame(known.turn, known.epoch(), End::Commit);
    let doubts_failed = model.switch != Switch::NoDoubtRule;
    let doubts_slow = doubts_failed && model.switch != Switch::SlowIsGood;
    if answer != Answer::Quick {
        state.hold_up(request);
    }
    if answer == Answer::Never {
        return if doubts_failed { Owner::Off } else { Owner::Failed { known: Running { position: before, ..known } } };
    }
    let done = state.broker.end(request).is_ok() && !(doubts_slow && answer == Answer::Late);
    match (done, model.switch) {
        (false, _) => Owner::Off,
        (true, Switch::PositionOutside) => Owner::Unrecorded { known: known.turned() },
        (
            true,
            Switch::None | Switch::NaiveIdOrder | Switch::XidOrder | Switch::SnapshotBarrier | Switch::NoDoubtRule | Switch::SlowIsGood,
        ) => Owner::Idle(known.turned()),
    }
}

/// What must never be done: `abort_transaction` after a commit that failed, and carrying on with the same producer.
fn abort(state: &mut State, known: Running, answer: Answer) -> Owner {
    let request = frame(known.turn, known.epoch(), End::Abort);
    if answer != Answer::Quick {
        state.hold_up(request);
    }
    if answer == Answer::Never || state.broker.end(request).is_err() {
        return Owner::Off;
    }
    Owner::Idle(known.turned())
}

/// The three ways a request may go, as far as requests may still be held up.
fn answers(model: &Relay, state: &State, action: impl Fn(Answer) -> Action, actions: &mut Vec<Action>) {
    actions.push(action(Answer::Quick));
    if state.held_up < model.held_up {
        actions.extend([action(Answer::Late), action(Answer::Never)]);
    }
}
