//! What must hold in every state, and what must be reached for the search to mean something.

use kafka::relay::plan::BLOCK_IDS;
use stateright::Property;

use super::broker::Record;
use super::database::Tx;
use super::owner::Owner;
use super::{Relay, State, Switch};
use crate::two::Nth;

/// Name of a promise.
pub const NOT_LOST: &str = "no row is lost";
/// Name of a promise.
pub const NOT_TWICE: &str = "no row is there twice";
/// Name of a promise.
pub const ORDER: &str = "the rows of an aggregate are in the order of its commits";
/// Name of a promise.
pub const WHOLE: &str = "database transactions are there as a whole or not at all";
/// Name of a promise.
pub const CHAIN: &str = "every prev names the record before";
/// Name of a promise.
pub const NO_GHOST: &str = "nothing that was not committed in the database is there";
const NEVER_REFUSED: &str = "the plan never takes a sound outbox for a damaged one";

/// The promises asked for, and for the protocol as it is the states that it must come through.
pub(super) fn all(model: &Relay) -> Vec<Property<Relay>> {
    let mut properties = vec![
        Property::always(NOT_LOST, not_lost),
        Property::always(NOT_TWICE, not_twice),
        Property::always(ORDER, order),
        Property::always(WHOLE, whole),
        Property::always(CHAIN, chain),
        Property::always(NO_GHOST, no_ghost),
        Property::always(NEVER_REFUSED, |_, state: &State| !state.owners.iter().any(|owner| *owner == Owner::Refusing)),
    ];
    if let Some(only) = model.only {
        properties.retain(|property| property.name == only);
    } else if model.switch == Switch::None {
        properties.extend([
            Property::sometimes("all committed rows are published and everything has ended", published),
            Property::sometimes("a block is visible before a lower one", hole),
            Property::sometimes("a dead block is stepped over", stepped_over),
            Property::sometimes("an owner sends while a newer one does", zombie),
            Property::sometimes("a late request meets another owner's open transaction", late),
            Property::sometimes("a new owner finds a transaction open", left_open),
            Property::sometimes("a commit is known only from the position record", unheard),
        ]);
    }
    properties
}

/// Rows visible in the database: (id, xid of the transaction).
fn written(model: &Relay, state: &State) -> Vec<(i64, u64)> {
    state.database.read(model.scenario).rows.into_iter().map(|(slot, xid)| (slot.id, xid)).collect()
}

fn published_ids(state: &State) -> Vec<i64> {
    state.broker.committed().map(|record| record.id).collect()
}

/// What the newest position is past must be on the topic: nobody will ever send it again.
fn not_lost(model: &Relay, state: &State) -> bool {
    let cursor = state.broker.position.cursor;
    let past =
        |id: i64, xid: u64| if model.switch == Switch::XidOrder { i64::try_from(xid).is_ok_and(|xid| xid <= cursor) } else { id <= cursor };
    let there = published_ids(state);
    written(model, state).into_iter().all(|(id, xid)| !past(id, xid) || there.contains(&id))
}

fn not_twice(_: &Relay, state: &State) -> bool {
    let mut ids = published_ids(state);
    ids.sort_unstable();
    ids.windows(2).all(|pair| pair.first() != pair.last())
}

/// Ids of an aggregate follow its commits, because they are drawn under its lock.
fn order(model: &Relay, state: &State) -> bool {
    Nth::BOTH.into_iter().all(|partition| {
        let seen: Vec<(i64, Option<char>)> = state
            .broker
            .visible(partition)
            .map(|record| (record.id, state.database.row(model.scenario, record.id).map(|row| row.aggregate)))
            .collect();
        seen.iter().enumerate().all(|(at, (id, aggregate))| {
            // A repeat is judged by `not_twice`.
            seen.iter()
                .take(at)
                .all(|(earlier, other)| other != aggregate || earlier <= id || seen.iter().take(at).any(|(same, _)| same == id))
        })
    })
}

fn whole(model: &Relay, state: &State) -> bool {
    let there = published_ids(state);
    state.database.txs.iter().zip(model.scenario).filter_map(|(tx, rows)| Some((tx.block()?, rows.len()))).all(|(block, rows)| {
        let of_block = (1..).take(rows).filter(|ord| there.contains(&(block * BLOCK_IDS + ord))).count();
        of_block == 0 || of_block == rows
    })
}

fn chain(_: &Relay, state: &State) -> bool {
    Nth::BOTH.into_iter().all(|partition| {
        let before = std::iter::once(0).chain(state.broker.visible(partition).map(|record| record.id));
        state.broker.visible(partition).zip(before).all(|(record, before)| record.prev == before)
    })
}

fn no_ghost(model: &Relay, state: &State) -> bool {
    let written = written(model, state);
    published_ids(state).into_iter().all(|id| written.iter().any(|(other, _)| *other == id))
}

fn published(model: &Relay, state: &State) -> bool {
    let over = |tx: &Tx| match tx {
        Tx::Committed { .. } => true,
        Tx::Waiting | Tx::Begun { .. } | Tx::Appended { .. } | Tx::RolledBack { .. } => false,
    };
    state.database.txs.iter().all(over) && published_ids(state).len() == written(model, state).len()
}

fn hole(_: &Relay, state: &State) -> bool {
    let txs = &state.database.txs;
    txs.iter().any(|tx| match tx {
        Tx::Committed { block, .. } => txs.iter().any(|other| matches!(other, Tx::Appended { block: missing, .. } if missing < block)),
        Tx::Waiting | Tx::Begun { .. } | Tx::Appended { .. } | Tx::RolledBack { .. } => false,
    })
}

fn stepped_over(_: &Relay, state: &State) -> bool {
    let passed = state.broker.position.cursor / BLOCK_IDS;
    state.database.txs.iter().any(|tx| matches!(tx, Tx::RolledBack { block } if *block < passed))
}

fn zombie(_: &Relay, state: &State) -> bool {
    state.owners.iter().all(|owner| matches!(owner, Owner::Sending { .. } | Owner::Sent { .. }))
}

fn late(_: &Relay, state: &State) -> bool {
    state.frames.iter().any(|frame| state.broker.open(frame.producer) && *state.broker.epochs.get(frame.producer) > frame.epoch)
}

fn left_open(_: &Relay, state: &State) -> bool {
    let open = |record: &Record| record.open == Some(Nth::Second);
    state.broker.log.iter().flatten().any(open) && state.owners.iter().any(|owner| matches!(owner, Owner::Fencing { .. }))
}

fn unheard(_: &Relay, state: &State) -> bool {
    let fresh = |owner: &Owner| matches!(owner, Owner::Fenced { .. });
    state.owners.iter().any(fresh) && state.broker.position.cursor > 0 && !state.owners.iter().any(|owner| owner.known().is_some())
}
