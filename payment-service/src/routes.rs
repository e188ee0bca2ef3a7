//! What payments reads, and what it does with it.

use kafka::{AfterLast, Routes};
use payment_domain::Step;
use schemas::{orders, payments};

use crate::handlers::{capture_payment, order_placed, refund_payment, void_payment};
use crate::store::Books;

/// The steps that a void or a refund undoes.
const UNDONE: &[&str] = &[Step::Authorize.as_str(), Step::Capture.as_str()];

/// The route table: topic · message · policy after the last attempt · compensates. See `src/tests/routes.txt`.
#[must_use]
pub fn routes() -> Routes<Books> {
    Routes::new()
        .on::<orders::OrderPlaced>(AfterLast::Hold, order_placed::ask, order_placed::handle)
        .performs(Step::Authorize.as_str())
        .gives_up(order_placed::give_up)
        .calls()
        .on::<payments::CapturePayment>(AfterLast::Hold, capture_payment::ask, capture_payment::handle)
        .performs(Step::Capture.as_str())
        .gives_up(capture_payment::give_up)
        .calls()
        .on::<payments::VoidPayment>(AfterLast::Hold, void_payment::ask, void_payment::handle)
        .compensates(UNDONE)
        .calls()
        .on::<payments::RefundPayment>(AfterLast::Hold, refund_payment::ask, refund_payment::handle)
        .compensates(UNDONE)
        .calls()
        .ignore::<orders::OrderConfirmed>("the capture came before it")
        .ignore::<orders::OrderCancelled>("the saga voids the payment by a command")
}
