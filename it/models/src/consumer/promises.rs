//! What must hold in every state, and what must be reached for the search to mean something.

use stateright::Property;

use super::{Consumer, Defences, Member, State};
use crate::two::Nth;

/// Name of a promise.
pub const ONCE: &str = "a record has its effect once";
/// Name of a promise.
pub const NOT_PASSED_OVER: &str = "no record is passed over";
/// Name of a promise.
pub const IN_ORDER: &str = "effects are in the order of the records";
/// Name of a promise.
pub const ONLY_THE_OWNER: &str = "nothing is written under an old epoch";
/// Name of a promise.
pub const NOT_REFUSED: &str = "whoever took over last is never refused";

/// The promises asked for, and for the protocol as it is the states that it must come through.
pub(super) fn all(model: &Consumer) -> Vec<Property<Consumer>> {
    let mut properties = vec![
        Property::always(ONCE, once),
        Property::always(NOT_PASSED_OVER, not_passed_over),
        Property::always(IN_ORDER, |_: &Consumer, state: &State| state.rows.effects.is_sorted()),
        Property::always(ONLY_THE_OWNER, |_: &Consumer, state: &State| !state.rows.stale),
        Property::always(NOT_REFUSED, |_: &Consumer, state: &State| !state.rows.refused),
    ];
    if let Some(only) = model.only {
        properties.retain(|property| property.name == only);
    } else if model.defences == Defences::ALL {
        properties.extend([
            Property::sometimes("everything is handled", |model: &Consumer, state: &State| state.rows.next == model.log.len()),
            Property::sometimes("a member has a batch in mind that is another's by now", zombie),
            Property::sometimes("a member waits for a lock that a zombie's transaction holds", blocked),
            Property::sometimes("a COMMIT without an answer took effect", lost_and_done),
            Property::sometimes("a COMMIT without an answer did not take effect", lost_and_undone),
            Property::sometimes("a COMMIT takes effect after its sender gave up", late),
        ]);
    }
    properties
}

fn once(_: &Consumer, state: &State) -> bool {
    let mut effects = state.rows.effects.clone();
    effects.sort_unstable();
    effects.windows(2).all(|pair| pair.first() != pair.last())
}

fn not_passed_over(model: &Consumer, state: &State) -> bool {
    model.log.iter().take(state.rows.next).all(|(seq, _)| state.rows.effects.contains(seq))
}

fn zombie(model: &Consumer, state: &State) -> bool {
    state.members.iter().any(|member| match member {
        Member::Idle(holding) => holding.epoch < state.rows.epoch && holding.next < state.rows.next && state.rows.next < model.log.len(),
        Member::Out | Member::Wrote(..) | Member::Asked(..) => false,
    })
}

/// The sender is gone, its transaction is not, and the other member is there to take over.
fn blocked(_: &Consumer, state: &State) -> bool {
    Nth::BOTH.into_iter().any(|who| {
        matches!(state.members.get(who), Member::Asked(..))
            && state.open.as_ref().is_some_and(|(owner, ..)| *owner == who)
            && matches!(state.members.get(who.other()), Member::Idle(_))
    })
}

fn lost_and_done(_: &Consumer, state: &State) -> bool {
    asked(state, |epoch, from, to| epoch == state.rows.epoch && state.rows.next == to && from < to)
}

fn lost_and_undone(_: &Consumer, state: &State) -> bool {
    asked(state, |epoch, from, _| state.open.is_none() && epoch == state.rows.epoch && state.rows.next == from)
}

fn late(_: &Consumer, state: &State) -> bool {
    asked(state, |epoch, _, to| state.open.is_none() && epoch < state.rows.epoch && state.rows.next >= to)
}

fn asked(state: &State, holds: impl Fn(u8, usize, usize) -> bool) -> bool {
    state.members.iter().any(|member| match member {
        Member::Asked(holding, batch) => holds(holding.epoch, batch.from, batch.to),
        Member::Out | Member::Idle(_) | Member::Wrote(..) => false,
    })
}
