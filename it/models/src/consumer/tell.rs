//! The consumer's steps in sentences.

use super::{Action, Batch, Consumer, Member, State};
use crate::story::Tell;
use crate::two::Nth;

const fn member(who: Nth) -> &'static str {
    match who {
        Nth::First => "member A",
        Nth::Second => "member B",
    }
}

fn records(handled: &[i64]) -> String {
    if handled.is_empty() {
        return "none".to_owned();
    }
    handled.iter().map(|seq| format!("r{seq}")).collect::<Vec<_>>().join(", ")
}

fn batch(state: &State, who: Nth) -> Option<&Batch> {
    match state.members.get(who) {
        Member::Wrote(_, batch) | Member::Asked(_, batch) => Some(batch),
        Member::Out | Member::Idle(_) => None,
    }
}

fn epoch(state: &State, who: Nth) -> u8 {
    match state.members.get(who) {
        Member::Idle(holding) | Member::Wrote(holding, _) | Member::Asked(holding, _) => holding.epoch,
        Member::Out => 0,
    }
}

impl Tell for Consumer {
    fn step(&self, before: &State, action: &Action, after: &State) -> String {
        match *action {
            Action::Take(who) => {
                let from = match after.members.get(who) {
                    Member::Idle(holding) => holding.next,
                    Member::Out | Member::Wrote(..) | Member::Asked(..) => 0,
                };
                let source = if self.defences.row { "the progress row" } else { "Kafka" };
                format!("{} takes the partition over: epoch {}, and {source} says offset {from}", member(who), after.rows.epoch)
            }
            Action::Begin(who, _) => batch(after, who).map_or_else(
                || format!("{} (epoch {}) begins a batch and is refused by the progress row", member(who), epoch(before, who)),
                |batch| {
                    format!(
                        "{} (epoch {}) writes a batch from offset {}: {}",
                        member(who),
                        epoch(before, who),
                        batch.from,
                        records(&batch.handled)
                    )
                },
            ),
            Action::Commit(who) => format!("{} commits", member(who)),
            Action::CommitUnanswered(who) => format!("{} sends COMMIT and the connection breaks", member(who)),
            Action::RollBack(who) => format!("the server rolls the transaction of {} back", member(who)),
            Action::LateCommit(who) => format!("the server commits the transaction of {}", member(who)),
            Action::Settle(who) => {
                let found = match after.members.get(who) {
                    Member::Out => "it is another's",
                    Member::Idle(holding) if batch(before, who).is_some_and(|batch| batch.to == holding.next) => "it was committed",
                    Member::Idle(_) | Member::Wrote(..) | Member::Asked(..) => "it was not committed",
                };
                format!("{} asks the progress row what became of its batch: {found}", member(who))
            }
            Action::TellKafka(who) => format!("{} commits offset {} to Kafka", member(who), after.kafka),
        }
    }

    fn ending(&self, state: &State) -> Vec<String> {
        vec![
            format!("effects in the database: {}", records(&state.rows.effects)),
            format!("the progress row: next offset {}, epoch {}", state.rows.next, state.rows.epoch),
        ]
    }
}
