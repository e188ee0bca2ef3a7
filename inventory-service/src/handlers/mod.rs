//! One file per message: wire to domain, one decision, done.

pub(crate) mod commit_inventory_hold;
pub(crate) mod create_inventory_hold;
pub(crate) mod order_placed;
pub(crate) mod products;
pub(crate) mod release_inventory_hold;

use inventory_domain::hold::{self, Command, Hold};
use kafka::{Failure, Unit};
use uuid::Uuid;

use crate::store::Rows;
use crate::wire::{self, HoldRecord};

/// The stream of an order's hold.
pub(crate) fn hold_stream(order: Uuid) -> String {
    format!("hold-{order}")
}

/// Decides `command` on the order's hold and writes what follows: events, the SKU rows, the hold's row. `command` sees the SKU
/// rows as the decisions before it in the same unit left them.
fn decide(unit: &mut Unit<Rows>, order: Uuid, command: impl FnOnce(&Rows) -> Command) -> Result<(), Failure> {
    let stream = hold_stream(order);
    let mut state: Hold = unit.state(&stream)?;
    let command = command(&unit.work);
    let events = hold::decide(&state, &command).unwrap_or_else(|rejection| vec![rejection.event()]);
    for event in events {
        for change in event.changes() {
            unit.work.change(&change)?;
        }
        state = hold::evolve(state, &event);
        unit.work.hold(order, &event);
        let key = order.to_string();
        match wire::hold_record(order, &event, unit.now()) {
            HoldRecord::Reserved(record) => unit.append(&stream, &key, &record, &state)?,
            HoldRecord::Rejected(record) => unit.append(&stream, &key, &record, &state)?,
            HoldRecord::Committed(record) => unit.append(&stream, &key, &record, &state)?,
            HoldRecord::Released(record) => unit.append(&stream, &key, &record, &state)?,
            HoldRecord::StepFailed(record) => unit.append(&stream, &key, &record, &state)?,
        };
    }
    Ok(())
}
