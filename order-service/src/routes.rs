//! The route table: topic (by record type) · message · policy after the last attempt · handler.

use kafka::{AfterLast, Routes};
use schemas::{inventory, payments};

use crate::handlers::{
    inventory_hold_committed, inventory_hold_released, inventory_rejected, inventory_reserved, inventory_step_failed, payment_captured,
    payment_declined, payment_refunded, payment_voided, payments_step_failed, price_changed, product_listed,
};
use crate::steer::OrderSaga;
use crate::store::Rows;

/// Takes the saga into a handler.
macro_rules! with {
    ($saga:expr, $handler:ident) => {{
        let saga = $saga.clone();
        move |unit: &mut kafka::Unit<Rows>, _: &kafka::Meta, message: &_| $handler::handle(&saga, unit, message)
    }};
}

/// What order-service does with every message on the topics it reads. Replies bear the state of a saga and prices follow each other, so the followers of
/// a failed one wait.
#[must_use]
pub fn routes(saga: &OrderSaga) -> Routes<Rows> {
    use AfterLast::Hold;
    Routes::new()
        .on::<inventory::InventoryReserved>(Hold, inventory_reserved::ask, with!(saga, inventory_reserved))
        .on::<inventory::InventoryRejected>(Hold, inventory_rejected::ask, with!(saga, inventory_rejected))
        .on::<inventory::InventoryHoldCommitted>(Hold, inventory_hold_committed::ask, with!(saga, inventory_hold_committed))
        .on::<inventory::InventoryHoldReleased>(Hold, inventory_hold_released::ask, with!(saga, inventory_hold_released))
        .on::<inventory::StepFailed>(Hold, inventory_step_failed::ask, with!(saga, inventory_step_failed))
        .on::<inventory::ProductListed>(Hold, product_listed::ask, |unit, _, message| product_listed::handle(unit, message))
        .projects()
        .on::<inventory::PriceChanged>(Hold, price_changed::ask, |unit, _, message| price_changed::handle(unit, message))
        .projects()
        .on::<payments::PaymentCaptured>(Hold, payment_captured::ask, with!(saga, payment_captured))
        .on::<payments::PaymentDeclined>(Hold, payment_declined::ask, with!(saga, payment_declined))
        .on::<payments::PaymentVoided>(Hold, payment_voided::ask, with!(saga, payment_voided))
        .on::<payments::PaymentRefunded>(Hold, payment_refunded::ask, with!(saga, payment_refunded))
        .on::<payments::StepFailed>(Hold, payments_step_failed::ask, with!(saga, payments_step_failed))
        .ignore::<payments::PaymentAuthorized>("the saga waits for the capture only")
        .ignore::<inventory::StockReceived>("stock is inventory's")
        .ignore::<inventory::StockAdjusted>("stock is inventory's")
}
