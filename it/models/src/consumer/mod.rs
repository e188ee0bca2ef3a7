//! The consumer: one partition of three records, two members who may both believe that it is theirs, and the database that
//! decides.
//!
//! The group decides who should read; here it gives the partition to anybody at any time and tells nobody. A record is judged
//! by the runtime's own `kafka::consumer::chain::judge`. Around it are the steps C0 (take over), C2 (one transaction for
//! progress row, chain and effects), C4 (a COMMIT without an answer) and, where Kafka's offsets count, C5.
//!
//! The row lock of PostgreSQL is what makes C0 and C2 wait: while a transaction holds the progress row nobody else takes
//! over, begins or settles. Left out: several partitions in one batch, holds, and the check of the record before the first.

mod promises;
mod tell;

use kafka::consumer::chain::{Last, Link, Verdict, judge};
use stateright::{Model, Property};

use crate::two::{Nth, Two};

pub use promises::{IN_ORDER, NOT_PASSED_OVER, NOT_REFUSED, ONCE, ONLY_THE_OWNER};

/// A record: (seq, prev).
pub type Record = (i64, i64);

/// Three records as they were written.
pub const PLAIN: &[Record] = &[(1, 0), (2, 1), (3, 2)];
/// The same after the owner's relay was rewound by one and published the second record again.
pub const REWOUND: &[Record] = &[(1, 0), (2, 1), (2, 1), (3, 2)];

/// What stands in the way of doing a thing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defences {
    /// C2.1 compares the epoch of the progress row.
    pub epoch: bool,
    /// C2.1 compares the next offset of the progress row.
    pub offset: bool,
    /// Records that the chain has seen are skipped.
    pub chain: bool,
    /// A member starts at the progress row, not at the offset committed to Kafka.
    pub row: bool,
}

impl Defences {
    /// The protocol as it is.
    pub const ALL: Self = Self { epoch: true, offset: true, chain: true, row: true };
}

/// What is checked, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Consumer {
    /// Which defences are there.
    pub defences: Defences,
    /// The partition, by offset.
    pub log: &'static [Record],
    /// How often the partition may be taken over.
    pub takes: u8,
    /// Checks one promise alone; `None` checks all and that the interesting states are reached.
    pub only: Option<&'static str>,
}

/// The consumer's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    /// `progress.next_offset`.
    pub next: usize,
    /// `progress.epoch`.
    pub epoch: u8,
    /// `chain.last_seq`.
    pub last: Option<i64>,
    /// Sequence numbers whose effect is committed, in order.
    pub effects: Vec<i64>,
    /// Something was committed under an epoch that was no longer the row's.
    pub stale: bool,
    /// Whoever took over last was refused.
    pub refused: bool,
}

/// A batch: what its transaction will have done once it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// First offset.
    pub from: usize,
    /// Offset after the last one.
    pub to: usize,
    /// Sequence numbers handled.
    pub handled: Vec<i64>,
    /// The chain's last number afterwards.
    pub last: Option<i64>,
}

/// What a member knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The epoch it was given.
    pub epoch: u8,
    /// The next offset to handle.
    pub next: usize,
    /// The chain's last number.
    pub last: Option<i64>,
}

/// Where a member stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Member {
    /// It has no partition.
    Out,
    /// Between batches.
    Idle(Holding),
    /// C2: written, COMMIT not sent. The database holds its row lock.
    Wrote(Holding, Batch),
    /// C4: COMMIT sent, the answer is lost.
    Asked(Holding, Batch),
}

/// One step of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// C0: raises the epoch and reads where to go on.
    Take(Nth),
    /// C2 up to the writes, with at most so many records.
    Begin(Nth, usize),
    /// COMMIT, answered.
    Commit(Nth),
    /// COMMIT, and the connection breaks.
    CommitUnanswered(Nth),
    /// The server rolls the transaction of this member back: time limit, shutdown, broken connection.
    RollBack(Nth),
    /// The server gets to a COMMIT that nobody waits for any more.
    LateCommit(Nth),
    /// C4: asks the rows on a new connection.
    Settle(Nth),
    /// C5: tells Kafka, which keeps whatever comes last.
    TellKafka(Nth),
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What is committed.
    pub rows: Rows,
    /// Whose transaction is open, and with what epoch it began.
    pub open: Option<(Nth, u8, Batch)>,
    /// The offset committed to Kafka.
    pub kafka: usize,
    /// The two members.
    pub members: Two<Member>,
}

impl Consumer {
    /// Judges and takes up to `most` records: repeats are passed over, a gap ends the batch.
    fn batch(&self, holding: &Holding, most: usize) -> Option<Batch> {
        let src = "orders/1";
        let mut batch = Batch { from: holding.next, to: holding.next, handled: Vec::new(), last: holding.last };
        for (offset, (seq, prev)) in self.log.iter().enumerate().skip(holding.next).take(most) {
            let link = Link { src: src.to_owned(), seq: *seq, prev: *prev };
            let last: Last = batch.last.iter().map(|last| (src.to_owned(), *last)).collect();
            let verdict =
                if self.defences.chain { judge("orders", &last, Some(&link), i64::try_from(offset).ok()?) } else { Verdict::Next };
            match verdict {
                Verdict::Next => batch.handled.push(*seq),
                Verdict::Repeat => {}
                Verdict::Gap | Verdict::Foreign => break,
            }
            batch.last = batch.last.max(Some(*seq));
            batch.to = offset + 1;
        }
        (batch.to > batch.from).then_some(batch)
    }

    /// C2.1: whether the progress row lets `holding` write from its offset.
    fn admits(&self, rows: &Rows, holding: &Holding) -> bool {
        (!self.defences.epoch || rows.epoch == holding.epoch) && (!self.defences.offset || rows.next == holding.next)
    }

    /// C0.
    fn take(&self, state: &mut State) -> Member {
        state.rows.epoch += 1;
        let next = if self.defences.row { state.rows.next } else { state.kafka };
        Member::Idle(Holding { epoch: state.rows.epoch, next, last: state.rows.last })
    }

    fn begin(&self, state: &mut State, who: Nth, holding: Holding, most: usize) -> Option<Member> {
        let batch = self.batch(&holding, most)?;
        if !self.admits(&state.rows, &holding) {
            state.rows.refused |= holding.epoch == state.rows.epoch;
            return Some(Member::Out);
        }
        state.open = Some((who, holding.epoch, batch.clone()));
        Some(Member::Wrote(holding, batch))
    }

    /// C4: what the rows say of a COMMIT without an answer.
    fn settle(rows: &Rows, holding: Holding, batch: &Batch) -> Member {
        if rows.epoch != holding.epoch {
            Member::Out
        } else if rows.next == batch.to {
            Member::Idle(after(&holding, batch))
        } else {
            Member::Idle(holding)
        }
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        let who = action.who();
        let free = state.open.is_none();
        let mine = state.open.as_ref().is_some_and(|(owner, ..)| *owner == who);
        let next = match (state.members.get(who).clone(), action) {
            (Member::Out | Member::Idle(_) | Member::Asked(..), Action::Take(_)) if free && state.rows.epoch < self.takes => {
                self.take(state)
            }
            (Member::Idle(holding), Action::Begin(_, most)) if free => self.begin(state, who, holding, most)?,
            (Member::Wrote(holding, batch), Action::Commit(_)) => {
                state.commit();
                Member::Idle(after(&holding, &batch))
            }
            (Member::Wrote(holding, batch), Action::CommitUnanswered(_)) => Member::Asked(holding, batch),
            (Member::Wrote(holding, _), Action::RollBack(_)) => {
                state.open = None;
                Member::Idle(holding)
            }
            (member @ Member::Asked(..), Action::RollBack(_)) if mine => {
                state.open = None;
                member
            }
            (member @ Member::Asked(..), Action::LateCommit(_)) if mine => {
                state.commit();
                member
            }
            (Member::Asked(holding, batch), Action::Settle(_)) if free => Self::settle(&state.rows, holding, &batch),
            (member @ Member::Idle(_), Action::TellKafka(_)) if !self.defences.row => {
                if let Member::Idle(holding) = &member {
                    state.kafka = holding.next;
                }
                member
            }
            (Member::Out | Member::Idle(_) | Member::Wrote(..) | Member::Asked(..), _) => return None,
        };
        *state.members.get_mut(who) = next;
        Some(())
    }
}

impl State {
    /// The open transaction becomes visible as a whole.
    fn commit(&mut self) {
        if let Some((_, epoch, batch)) = self.open.take() {
            self.rows.stale |= epoch != self.rows.epoch;
            self.rows.next = batch.to;
            self.rows.last = batch.last;
            self.rows.effects.extend(batch.handled);
        }
    }
}

impl Action {
    const fn who(self) -> Nth {
        match self {
            Self::Take(who)
            | Self::Begin(who, _)
            | Self::Commit(who)
            | Self::CommitUnanswered(who)
            | Self::RollBack(who)
            | Self::LateCommit(who)
            | Self::Settle(who)
            | Self::TellKafka(who) => who,
        }
    }
}

/// What a member knows after `batch`.
fn after(holding: &Holding, batch: &Batch) -> Holding {
    Holding { epoch: holding.epoch, next: batch.to, last: batch.last }
}

impl Model for Consumer {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { rows: Rows::default(), open: None, kafka: 0, members: Two::new(Member::Out, Member::Out) }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        for who in Nth::BOTH {
            actions.extend([
                Action::Take(who),
                Action::Begin(who, 1),
                Action::Begin(who, self.log.len()),
                Action::Commit(who),
                Action::CommitUnanswered(who),
                Action::RollBack(who),
                Action::LateCommit(who),
                Action::Settle(who),
                Action::TellKafka(who),
            ]);
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
