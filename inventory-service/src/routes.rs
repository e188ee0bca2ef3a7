//! What inventory reads, and what it does with it.

use inventory_domain::hold::CREATE;
use kafka::{AfterLast, Routes};
use schemas::{inventory, orders};

use crate::handlers::{commit_inventory_hold, create_inventory_hold, order_placed, release_inventory_hold};
use crate::store::Rows;

/// The route table: topic · message · policy after the last attempt · compensates. See `src/tests/routes.txt`.
#[must_use]
pub fn routes() -> Routes<Rows> {
    Routes::new()
        .on::<inventory::CreateInventoryHold>(AfterLast::Hold, create_inventory_hold::ask, create_inventory_hold::handle)
        .performs(CREATE)
        .gives_up(create_inventory_hold::give_up)
        .on::<inventory::CommitInventoryHold>(AfterLast::Hold, commit_inventory_hold::ask, commit_inventory_hold::handle)
        .performs("commit")
        .endless()
        .on::<inventory::ReleaseInventoryHold>(AfterLast::Hold, release_inventory_hold::ask, release_inventory_hold::handle)
        .compensates(&[CREATE])
        .on::<orders::OrderPlaced>(AfterLast::Release, order_placed::ask, order_placed::handle)
        .projects()
        .ignore::<orders::OrderConfirmed>("the saga commits the hold by a command")
        .ignore::<orders::OrderCancelled>("the saga releases the hold by a command")
}
