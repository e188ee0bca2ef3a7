//! The relay's steps in sentences.

use kafka::relay::plan::BLOCK_IDS;

use super::broker::{End, Frame, Position};
use super::database::{Tx, Write};
use super::owner::{Owner, Running};
use super::{Action, Answer, Relay, State, Switch};
use crate::story::Tell;
use crate::two::Nth;

const fn relay(who: Nth) -> &'static str {
    match who {
        Nth::First => "relay A",
        Nth::Second => "relay B",
    }
}

const fn producer(which: Nth) -> &'static str {
    match which {
        Nth::First => "P0",
        Nth::Second => "P1",
    }
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn request(frame: &Frame) -> String {
    let end = match frame.end {
        End::Commit => "commit",
        End::Abort => "abort",
    };
    format!("EndTxn({end}) of {} in epoch {}", producer(frame.producer), frame.epoch)
}

impl Relay {
    /// `T2:A` is the row of aggregate A that transaction 2 wrote.
    fn name(&self, state: &State, id: i64) -> String {
        let tx = state.database.txs.iter().position(|tx| tx.block() == Some(id / BLOCK_IDS)).map_or(0, |at| at + 1);
        let aggregate = state.database.row(self.scenario, id).map_or('?', |row| row.aggregate);
        format!("T{tx}:{aggregate}")
    }

    fn position(&self, state: &State, position: &Position) -> String {
        if position.cursor == 0 {
            return "at the start".to_owned();
        }
        if self.switch == Switch::XidOrder {
            return format!("xid {}", position.cursor);
        }
        self.name(state, position.cursor)
    }

    fn write(&self, after: &State, at: usize, step: Write) -> String {
        let name = format!("T{}", at + 1);
        let rows: Vec<char> = self.scenario.get(at).copied().unwrap_or_default().iter().map(|row| row.aggregate).collect();
        match (step, after.database.txs.get(at)) {
            (Write::Begin, Some(Tx::Begun { xid })) => format!("{name} begins: xid {xid}"),
            (Write::Append, Some(Tx::Appended { block, .. })) => format!(
                "{name} locks {}, draws block {block} and writes {}",
                list(rows.iter().map(char::to_string)),
                list(rows.iter().map(|aggregate| format!("{name}:{aggregate}")))
            ),
            (Write::Commit, _) => format!("{name} commits"),
            (Write::RollBack, _) => format!("{name} rolls back"),
            (Write::Begin | Write::Append, _) => name,
        }
    }

    fn read(&self, before: &State, after: &State, who: Nth) -> String {
        let seen = before.database.read(self.scenario);
        let past = match before.owners.get(who) {
            Owner::Idle(known) => known.position,
            Owner::Off
            | Owner::Fencing { .. }
            | Owner::Fenced { .. }
            | Owner::Sending { .. }
            | Owner::Sent { .. }
            | Owner::Failed { .. }
            | Owner::Unrecorded { .. }
            | Owner::Refusing => Position::default(),
        };
        let unsent = seen.rows.iter().filter(|(slot, xid)| match self.switch {
            Switch::XidOrder => i64::try_from(*xid).is_ok_and(|xid| xid > past.cursor),
            Switch::None
            | Switch::NaiveIdOrder
            | Switch::SnapshotBarrier
            | Switch::NoDoubtRule
            | Switch::SlowIsGood
            | Switch::PositionOutside => slot.id > past.cursor,
        });
        let saw = list(unsent.map(|(slot, _)| self.name(before, slot.id)));
        let mut text = format!("{} reads the outbox: sees {saw}, xmin {}", relay(who), seen.xmin);
        match after.owners.get(who) {
            Owner::Sending { batch, .. } => {
                text.push_str(&format!("; it will send {}", list(batch.iter().map(|id| self.name(before, *id)))));
            }
            Owner::Idle(Running { missing: Some(missing), draw, .. }) => {
                text.push_str(&format!("; block {} is missing", missing.block));
                if draw.is_some() {
                    text.push_str(", which asks for a barrier");
                }
            }
            Owner::Idle(_)
            | Owner::Off
            | Owner::Fencing { .. }
            | Owner::Fenced { .. }
            | Owner::Sent { .. }
            | Owner::Failed { .. }
            | Owner::Unrecorded { .. }
            | Owner::Refusing => text.push_str("; nothing to send"),
        }
        text
    }

    fn end(&self, before: &State, after: &State, who: Nth, what: &str, answer: Answer) -> String {
        let turn = before.owners.get(who).known().map_or("?", |known| producer(known.turn));
        let outcome = match after.owners.get(who) {
            Owner::Off => "in doubt or refused: it starts anew",
            Owner::Failed { .. } => "it takes that for a failure",
            Owner::Idle(_) | Owner::Unrecorded { .. } => "it takes that for done",
            Owner::Fencing { .. } | Owner::Fenced { .. } | Owner::Sending { .. } | Owner::Sent { .. } | Owner::Refusing => "?",
        };
        match answer {
            Answer::Quick => format!("{} {what} on {turn}, answered at once; {outcome}", relay(who)),
            Answer::Late => {
                format!("{} {what} on {turn}: the request is held up, the client's second one is answered late; {outcome}", relay(who))
            }
            Answer::Never => format!("{} {what} on {turn}: the request is held up, the call fails; {outcome}", relay(who)),
        }
    }

    fn send(&self, before: &State, after: &State, who: Nth, what: &str) -> String {
        let turn = before.owners.get(who).known().map_or("?", |known| producer(known.turn));
        let refused = if *after.owners.get(who) == Owner::Off { ": refused, its epoch is old" } else { "" };
        format!("{} sends {what} through {turn}{refused}", relay(who))
    }

    fn next_row(&self, state: &State, who: Nth) -> String {
        match state.owners.get(who) {
            Owner::Sending { batch, sent, .. } => batch.get(*sent).map_or_else(String::new, |id| self.name(state, *id)),
            Owner::Off
            | Owner::Fencing { .. }
            | Owner::Fenced { .. }
            | Owner::Idle(_)
            | Owner::Sent { .. }
            | Owner::Failed { .. }
            | Owner::Unrecorded { .. }
            | Owner::Refusing => String::new(),
        }
    }
}

impl Tell for Relay {
    fn step(&self, before: &State, action: &Action, after: &State) -> String {
        match *action {
            Action::Write(at, step) => self.write(after, at, step),
            Action::InitFirst(who) => {
                let verb = if *before.owners.get(who) == Owner::Off { "starts" } else { "dies and starts again" };
                format!("{} {verb}: P0 gets epoch {}", relay(who), after.broker.epochs.get(Nth::First))
            }
            Action::InitSecond(who) => format!("{}: P1 gets epoch {}", relay(who), after.broker.epochs.get(Nth::Second)),
            Action::ReadPosition(who) => {
                format!("{} reads the position: {}", relay(who), self.position(before, &before.broker.position))
            }
            Action::Read(who) => self.read(before, after, who),
            Action::Draw(who) => {
                let xid = after.owners.get(who).known().and_then(|known| known.missing?.barrier).map_or(0, |(xid, _)| xid);
                format!("{} draws its barrier: xid {xid}", relay(who))
            }
            Action::SendRow(who) => self.send(before, after, who, &self.next_row(before, who)),
            Action::SendPosition(who) if self.switch == Switch::PositionOutside => {
                format!("{} leaves the position out of the transaction", relay(who))
            }
            Action::SendPosition(who) => {
                let next = after.owners.get(who).known().map_or_else(String::new, |known| self.position(before, &known.position));
                self.send(before, after, who, &format!("the position ({next})"))
            }
            Action::Commit(who, answer) => self.end(before, after, who, "commits", answer),
            Action::Abort(who, answer) => self.end(before, after, who, "aborts", answer),
            Action::RecordPosition(who) => {
                format!("{} writes the position: {}", relay(who), self.position(before, &after.broker.position))
            }
            Action::Arrive(frame) => {
                let did = if before.broker == after.broker { "nothing happens" } else { "it ends the transaction that is open now" };
                format!("the held-up {} arrives: {did}", request(&frame))
            }
            Action::TimeOut(which) => format!("the broker has waited long enough for {}: it fences and aborts it", producer(which)),
        }
    }

    fn ending(&self, state: &State) -> Vec<String> {
        let written = list(state.database.read(self.scenario).rows.iter().map(|(slot, _)| self.name(state, slot.id)));
        let partition = |nth: Nth| {
            list(state.broker.visible(nth).map(|record| {
                let prev = if record.prev == 0 { "the start".to_owned() } else { self.name(state, record.prev) };
                format!("{} (after {prev})", self.name(state, record.id))
            }))
        };
        vec![
            format!("the database holds {written}"),
            format!("partition 0 shows {}", partition(Nth::First)),
            format!("partition 1 shows {}", partition(Nth::Second)),
            format!("the newest position: {}", self.position(state, &state.broker.position)),
        ]
    }
}
