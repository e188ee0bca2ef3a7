//! The relay: two owners who both believe that they are the one, three rows, a broker, crashes and late frames.
//!
//! What to publish is decided by the runtime's own `kafka::relay::plan::plan`. Around it this model has the steps L1 to L6
//! one by one, so that anything can happen between any two of them. There is no lock (L0): safety must not rest on it.
//!
//! Left out: the row limit of a read (`Next::More`, `Next::Wider`; `kafka/src/relay/plan/tests.rs` has it), the sentinel
//! record of a new owner, and time, of which only one thing is left: two reads of one owner are always [`GAP_AGE`] apart.

pub mod broker;
pub mod database;
mod owner;
mod promises;
mod tell;

use std::time::Instant;

use kafka::relay::plan::GAP_AGE;
use stateright::{Model, Property};

use crate::two::{Nth, Two};
pub use promises::{CHAIN, NO_GHOST, NOT_LOST, NOT_TWICE, ORDER, WHOLE};

use broker::{Broker, End, Frame};
use database::{Database, Row, Write};
use owner::Owner;

/// Which defence is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// None: the protocol as it is.
    None,
    /// Rows above the last id, whatever is missing below them.
    NaiveIdOrder,
    /// Rows in the order of (xid, id), below xmin.
    XidOrder,
    /// The barrier is the snapshot's `xmax` instead of an xid drawn for it.
    SnapshotBarrier,
    /// A slow commit counts as a good one, and after a failed one the producer aborts and carries on.
    NoDoubtRule,
    /// Half of that: only a slow commit counts as a good one.
    SlowIsGood,
    /// The position is written after the commit, outside the transaction.
    PositionOutside,
}

/// How a commit went, as its sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// At once: there is no second request.
    Quick,
    /// After the client asked a second time; the first request is still on its way.
    Late,
    /// Not at all; the request is still on its way.
    Never,
}

/// One step of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A writer of the database goes on.
    Write(usize, Write),
    /// L1, first producer: an owner starts, or dies wherever it is and starts again. One that dies and never starts again
    /// is one that never acts again.
    InitFirst(Nth),
    /// L1, second producer.
    InitSecond(Nth),
    /// L2.
    ReadPosition(Nth),
    /// L3: one read and its plan; L4 begins if there is something to publish.
    Read(Nth),
    /// Draws the barrier that the last plan asked for.
    Draw(Nth),
    /// L4: the next row.
    SendRow(Nth),
    /// L4: the position record, last.
    SendPosition(Nth),
    /// L5, and L6 if there is no doubt.
    Commit(Nth, Answer),
    /// Without the doubt rule: the abort that a failed commit is followed by.
    Abort(Nth, Answer),
    /// With the position outside the transaction: writes it.
    RecordPosition(Nth),
    /// A request that was held up arrives.
    Arrive(Frame),
    /// The broker has waited `transaction.timeout.ms` for the end of a transaction: it fences and aborts it.
    TimeOut(Nth),
}

/// What is checked, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Relay {
    /// The defence that is missing.
    pub switch: Switch,
    /// The transactions of the database and their rows.
    pub scenario: &'static [&'static [Row]],
    /// How often an owner may start, together.
    pub starts: u8,
    /// How many requests may be held up, together.
    pub held_up: u8,
    /// Checks one promise alone; `None` checks all and that the interesting states are reached.
    pub only: Option<&'static str>,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The source's database.
    pub database: Database,
    /// Kafka.
    pub broker: Broker,
    /// Requests that are still on their way, in a fixed order.
    pub frames: Vec<Frame>,
    /// Requests held up so far.
    pub held_up: u8,
    /// The two owners.
    pub owners: Two<Owner>,
}

impl Relay {
    /// Whether ended transactions must keep their xid in the state.
    const fn keeps_xids(&self) -> bool {
        matches!(self.switch, Switch::XidOrder | Switch::SnapshotBarrier)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Write(at, step) => state.database = state.database.write(self.scenario, at, step, self.keeps_xids())?,
            Action::Arrive(frame) => {
                let at = state.frames.iter().position(|other| *other == frame)?;
                state.frames.remove(at);
                // Nobody waits for the answer any more.
                let _unheard = state.broker.end(frame);
            }
            Action::TimeOut(producer) => {
                // Nobody has the new epoch.
                let _nobodys = state.broker.init(producer);
            }
            Action::InitFirst(who)
            | Action::InitSecond(who)
            | Action::ReadPosition(who)
            | Action::Read(who)
            | Action::Draw(who)
            | Action::SendRow(who)
            | Action::SendPosition(who)
            | Action::Commit(who, _)
            | Action::Abort(who, _)
            | Action::RecordPosition(who) => {
                let owner = state.owners.get(who).clone();
                *state.owners.get_mut(who) = owner.act(self, state, action)?;
            }
        }
        Some(())
    }
}

impl State {
    /// Leaves a copy of a request on its way.
    fn hold_up(&mut self, frame: Frame) {
        self.frames.push(frame);
        self.frames.sort_unstable();
        self.held_up += 1;
    }
}

impl Model for Relay {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            database: Database::new(self.scenario.len()),
            broker: Broker::default(),
            frames: Vec::new(),
            held_up: 0,
            owners: Two::new(Owner::Off, Owner::Off),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for at in 0..self.scenario.len() {
            for step in [Write::Begin, Write::Append, Write::Commit, Write::RollBack] {
                if state.database.write(self.scenario, at, step, self.keeps_xids()).is_some() {
                    actions.push(Action::Write(at, step));
                }
            }
        }
        for who in Nth::BOTH {
            state.owners.get(who).actions(self, state, who, actions);
        }
        let mut last = None;
        for frame in &state.frames {
            if last != Some(frame) {
                actions.push(Action::Arrive(*frame));
            }
            last = Some(frame);
        }
        for producer in Nth::BOTH {
            if state.broker.open(producer) && *state.broker.epochs.get(producer) < self.starts {
                actions.push(Action::TimeOut(producer));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.act(&mut state, action)?;
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all(self)
    }
}

/// Any instant, and one that is [`GAP_AGE`] later: all the time there is.
fn clock() -> (Instant, Instant) {
    let first = Instant::now();
    (first, first + GAP_AGE)
}

/// The frame with which `producer` asks for `end`.
const fn frame(producer: Nth, epoch: u8, end: End) -> Frame {
    Frame { producer, epoch, end }
}

/// Three transactions of one row; the first two are of the same aggregate.
pub const THREE_OF_ONE: &[&[Row]] = &[
    &[Row { aggregate: 'A', partition: Nth::First }],
    &[Row { aggregate: 'A', partition: Nth::First }],
    &[Row { aggregate: 'B', partition: Nth::Second }],
];

/// Three transactions of one row, all of one aggregate.
pub const ONE_BY_ONE: &[&[Row]] = &[
    &[Row { aggregate: 'A', partition: Nth::First }],
    &[Row { aggregate: 'A', partition: Nth::First }],
    &[Row { aggregate: 'A', partition: Nth::First }],
];

/// A transaction of two rows in two partitions beside one of one row.
pub const TWO_AND_ONE: &[&[Row]] = &[
    &[Row { aggregate: 'A', partition: Nth::First }, Row { aggregate: 'B', partition: Nth::Second }],
    &[Row { aggregate: 'C', partition: Nth::Second }],
];
