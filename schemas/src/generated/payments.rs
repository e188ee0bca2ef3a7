// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.

//! Types of the namespace `payments`.

use record::Record;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Command: capture the whole amount, behind the authorisation if that is still under way, or after making it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePayment {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The amount to capture: the total of the order.
    pub amount: crate::common::Money,
    /// The payment token of the order, sealed; null when it is not carried.
    #[serde(default)]
    pub payment_token: Option<crate::common::Sealed>,
}

impl Record for CapturePayment {
    const FULL_NAME: &'static str = "payments.CapturePayment";
    const SCHEMA: &'static str = include_str!("../../avro/payments/CapturePayment.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_COMMANDS;
}

/// The provider reserved the amount on the customer's means of payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAuthorized {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The amount reserved.
    pub amount: crate::common::Money,
    /// When it was reserved, in microseconds since 1970-01-01T00:00:00Z.
    pub authorized_at: i64,
}

impl Record for PaymentAuthorized {
    const FULL_NAME: &'static str = "payments.PaymentAuthorized";
    const SCHEMA: &'static str = include_str!("../../avro/payments/PaymentAuthorized.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// The provider took the amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The amount taken.
    pub amount: crate::common::Money,
    /// When it was taken, in microseconds since 1970-01-01T00:00:00Z.
    pub captured_at: i64,
}

impl Record for PaymentCaptured {
    const FULL_NAME: &'static str = "payments.PaymentCaptured";
    const SCHEMA: &'static str = include_str!("../../avro/payments/PaymentCaptured.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// The provider refused the payment; nothing is authorised or captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDeclined {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The provider's reason, a stable code.
    pub code: String,
    /// When it was refused, in microseconds since 1970-01-01T00:00:00Z.
    pub declined_at: i64,
}

impl Record for PaymentDeclined {
    const FULL_NAME: &'static str = "payments.PaymentDeclined";
    const SCHEMA: &'static str = include_str!("../../avro/payments/PaymentDeclined.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// The captured amount was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefunded {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The amount given back.
    pub amount: crate::common::Money,
    /// When it was given back, in microseconds since 1970-01-01T00:00:00Z.
    pub refunded_at: i64,
}

impl Record for PaymentRefunded {
    const FULL_NAME: &'static str = "payments.PaymentRefunded";
    const SCHEMA: &'static str = include_str!("../../avro/payments/PaymentRefunded.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// Nothing is authorised or captured any more, or never was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentVoided {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// When that was certain, in microseconds since 1970-01-01T00:00:00Z.
    pub voided_at: i64,
}

impl Record for PaymentVoided {
    const FULL_NAME: &'static str = "payments.PaymentVoided";
    const SCHEMA: &'static str = include_str!("../../avro/payments/PaymentVoided.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// Command: give back all that was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundPayment {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
}

impl Record for RefundPayment {
    const FULL_NAME: &'static str = "payments.RefundPayment";
    const SCHEMA: &'static str = include_str!("../../avro/payments/RefundPayment.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_COMMANDS;
}

/// A command of the saga could not be carried out and is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailed {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The saga step, by its name in the definition.
    pub step: String,
    /// Stable error code of the last failure.
    pub code: String,
    /// When it was given up, in microseconds since 1970-01-01T00:00:00Z.
    pub failed_at: i64,
}

impl Record for StepFailed {
    const FULL_NAME: &'static str = "payments.StepFailed";
    const SCHEMA: &'static str = include_str!("../../avro/payments/StepFailed.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_EVENTS;
}

/// Command: leave nothing authorised or captured. A capture that comes later does nothing. Always answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidPayment {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
}

impl Record for VoidPayment {
    const FULL_NAME: &'static str = "payments.VoidPayment";
    const SCHEMA: &'static str = include_str!("../../avro/payments/VoidPayment.avsc");
    const TOPIC: &'static str = crate::topics::PAYMENTS_COMMANDS;
}
