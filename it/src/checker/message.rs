//! The records of the topics, as far as the invariants need them, taken from decoded Avro by field name.
//!
//! Written by hand from the published field list and not from the generated types: a reader outside the system has only
//! the schema of the registry, and a mistake that both sides shared would not be seen.

use apache_avro::types::Value;
use uuid::Uuid;

use super::world::{Service, Topic};

/// An amount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// Minor units.
    pub minor: i64,
    /// ISO code.
    pub currency: Box<str>,
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.minor, self.currency)
    }
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// What.
    pub sku: Box<str>,
    /// Units.
    pub quantity: i64,
    /// Minor units for one.
    pub unit_price_minor: i64,
}

/// SKU and units, of a hold.
pub type Units = Vec<(Box<str>, i64)>;

/// `orders.OrderPlaced`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The order.
    pub order: Uuid,
    /// Who placed it.
    pub customer: Box<str>,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// The price of all lines.
    pub total: Money,
    /// `<customer>:POST /v1/orders`.
    pub scope: Box<str>,
    /// The client's idempotency key.
    pub key: Box<str>,
    /// Hash of the request.
    pub request_hash: Vec<u8>,
}

/// A record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the records of the topics table, documented in their schemas")]
pub enum Body {
    OrderPlaced(Box<Placed>),
    OrderConfirmed {
        order: Uuid,
    },
    OrderCancelled {
        order: Uuid,
        reason: Box<str>,
    },
    SagaStarted {
        order: Uuid,
    },
    SagaStepRecorded {
        order: Uuid,
        step: Box<str>,
        state: Box<str>,
        reason: Option<Box<str>>,
        /// The person who decided it; records of version 1 have no such field.
        decided_by: Option<Box<str>>,
    },
    SagaEnded {
        order: Uuid,
        outcome: Box<str>,
    },
    CreateInventoryHold {
        order: Uuid,
        lines: Units,
    },
    CommitInventoryHold {
        order: Uuid,
    },
    ReleaseInventoryHold {
        order: Uuid,
    },
    InventoryReserved {
        order: Uuid,
        lines: Units,
    },
    InventoryRejected {
        order: Uuid,
    },
    InventoryHoldCommitted {
        order: Uuid,
    },
    InventoryHoldReleased {
        order: Uuid,
        lines: Units,
    },
    ProductListed {
        sku: Box<str>,
        price: Money,
    },
    PriceChanged {
        sku: Box<str>,
        price: Money,
    },
    StockReceived {
        sku: Box<str>,
        units: i64,
    },
    StockAdjusted {
        sku: Box<str>,
        units: i64,
    },
    InventoryStepFailed {
        order: Uuid,
    },
    CapturePayment {
        order: Uuid,
        amount: Money,
    },
    VoidPayment {
        order: Uuid,
    },
    RefundPayment {
        order: Uuid,
    },
    PaymentAuthorized {
        order: Uuid,
        amount: Money,
    },
    PaymentCaptured {
        order: Uuid,
        amount: Money,
    },
    PaymentDeclined {
        order: Uuid,
    },
    PaymentVoided {
        order: Uuid,
    },
    PaymentRefunded {
        order: Uuid,
        amount: Money,
    },
    PaymentStepFailed {
        order: Uuid,
    },
    /// No record of the topics table, and why.
    Unreadable(String),
}

impl Body {
    /// The record of that full name.
    #[must_use]
    pub fn of_avro(full_name: &str, value: &Value) -> Self {
        let fields = Fields(value);
        Self::read(full_name, &fields).unwrap_or_else(|fault| Self::Unreadable(format!("{full_name}: {fault}")))
    }

    fn read(full_name: &str, at: &Fields<'_>) -> Result<Self, String> {
        let order = || at.uuid("order_id");
        Ok(match full_name {
            "orders.OrderPlaced" => Self::OrderPlaced(Box::new(Placed {
                order: order()?,
                customer: at.text("customer_id")?,
                lines: at
                    .list("lines")?
                    .iter()
                    .map(|line| {
                        let line = Fields(line);
                        Ok(Line {
                            sku: line.text("sku")?,
                            quantity: line.long("quantity")?,
                            unit_price_minor: line.long("unit_price_minor")?,
                        })
                    })
                    .collect::<Result<_, String>>()?,
                total: at.money("total")?,
                scope: at.of("idempotency")?.text("scope")?,
                key: at.of("idempotency")?.text("key")?,
                request_hash: at.of("idempotency")?.bytes("request_hash")?,
            })),
            "orders.OrderConfirmed" => Self::OrderConfirmed { order: order()? },
            "orders.OrderCancelled" => Self::OrderCancelled { order: order()?, reason: at.text("reason")? },
            "orders.SagaStarted" => Self::SagaStarted { order: order()? },
            "orders.SagaStepRecorded" => Self::SagaStepRecorded {
                order: order()?,
                step: at.text("step")?,
                state: at.text("state")?,
                reason: at.optional_text("reason")?,
                decided_by: at.optional_text("decided_by").unwrap_or_default(),
            },
            "orders.SagaEnded" => Self::SagaEnded { order: order()?, outcome: at.text("outcome")? },
            "inventory.CreateInventoryHold" => Self::CreateInventoryHold { order: order()?, lines: at.units("lines")? },
            "inventory.CommitInventoryHold" => Self::CommitInventoryHold { order: order()? },
            "inventory.ReleaseInventoryHold" => Self::ReleaseInventoryHold { order: order()? },
            "inventory.InventoryReserved" => Self::InventoryReserved { order: order()?, lines: at.units("lines")? },
            "inventory.InventoryRejected" => Self::InventoryRejected { order: order()? },
            "inventory.InventoryHoldCommitted" => Self::InventoryHoldCommitted { order: order()? },
            "inventory.InventoryHoldReleased" => Self::InventoryHoldReleased { order: order()?, lines: at.units("lines")? },
            "inventory.ProductListed" => Self::ProductListed { sku: at.text("sku")?, price: at.money("price")? },
            "inventory.PriceChanged" => Self::PriceChanged { sku: at.text("sku")?, price: at.money("price")? },
            "inventory.StockReceived" => Self::StockReceived { sku: at.text("sku")?, units: at.long("units")? },
            "inventory.StockAdjusted" => Self::StockAdjusted { sku: at.text("sku")?, units: at.long("units")? },
            "inventory.StepFailed" => Self::InventoryStepFailed { order: order()? },
            "payments.CapturePayment" => Self::CapturePayment { order: order()?, amount: at.money("amount")? },
            "payments.VoidPayment" => Self::VoidPayment { order: order()? },
            "payments.RefundPayment" => Self::RefundPayment { order: order()? },
            "payments.PaymentAuthorized" => Self::PaymentAuthorized { order: order()?, amount: at.money("amount")? },
            "payments.PaymentCaptured" => Self::PaymentCaptured { order: order()?, amount: at.money("amount")? },
            "payments.PaymentDeclined" => Self::PaymentDeclined { order: order()? },
            "payments.PaymentVoided" => Self::PaymentVoided { order: order()? },
            "payments.PaymentRefunded" => Self::PaymentRefunded { order: order()?, amount: at.money("amount")? },
            "payments.StepFailed" => Self::PaymentStepFailed { order: order()? },
            _ => return Err("no record of the topics table".into()),
        })
    }

    /// The full name and the topic it belongs to.
    #[must_use]
    pub fn kind(&self) -> Option<(&'static str, Topic)> {
        Some(match self {
            Self::OrderPlaced(_) => ("orders.OrderPlaced", Topic::OrdersEvents),
            Self::OrderConfirmed { .. } => ("orders.OrderConfirmed", Topic::OrdersEvents),
            Self::OrderCancelled { .. } => ("orders.OrderCancelled", Topic::OrdersEvents),
            Self::SagaStarted { .. } => ("orders.SagaStarted", Topic::OrdersSaga),
            Self::SagaStepRecorded { .. } => ("orders.SagaStepRecorded", Topic::OrdersSaga),
            Self::SagaEnded { .. } => ("orders.SagaEnded", Topic::OrdersSaga),
            Self::CreateInventoryHold { .. } => ("inventory.CreateInventoryHold", Topic::InventoryCommands),
            Self::CommitInventoryHold { .. } => ("inventory.CommitInventoryHold", Topic::InventoryCommands),
            Self::ReleaseInventoryHold { .. } => ("inventory.ReleaseInventoryHold", Topic::InventoryCommands),
            Self::InventoryReserved { .. } => ("inventory.InventoryReserved", Topic::InventoryEvents),
            Self::InventoryRejected { .. } => ("inventory.InventoryRejected", Topic::InventoryEvents),
            Self::InventoryHoldCommitted { .. } => ("inventory.InventoryHoldCommitted", Topic::InventoryEvents),
            Self::InventoryHoldReleased { .. } => ("inventory.InventoryHoldReleased", Topic::InventoryEvents),
            Self::ProductListed { .. } => ("inventory.ProductListed", Topic::InventoryEvents),
            Self::PriceChanged { .. } => ("inventory.PriceChanged", Topic::InventoryEvents),
            Self::StockReceived { .. } => ("inventory.StockReceived", Topic::InventoryEvents),
            Self::StockAdjusted { .. } => ("inventory.StockAdjusted", Topic::InventoryEvents),
            Self::InventoryStepFailed { .. } => ("inventory.StepFailed", Topic::InventoryEvents),
            Self::CapturePayment { .. } => ("payments.CapturePayment", Topic::PaymentsCommands),
            Self::VoidPayment { .. } => ("payments.VoidPayment", Topic::PaymentsCommands),
            Self::RefundPayment { .. } => ("payments.RefundPayment", Topic::PaymentsCommands),
            Self::PaymentAuthorized { .. } => ("payments.PaymentAuthorized", Topic::PaymentsEvents),
            Self::PaymentCaptured { .. } => ("payments.PaymentCaptured", Topic::PaymentsEvents),
            Self::PaymentDeclined { .. } => ("payments.PaymentDeclined", Topic::PaymentsEvents),
            Self::PaymentVoided { .. } => ("payments.PaymentVoided", Topic::PaymentsEvents),
            Self::PaymentRefunded { .. } => ("payments.PaymentRefunded", Topic::PaymentsEvents),
            Self::PaymentStepFailed { .. } => ("payments.StepFailed", Topic::PaymentsEvents),
            Self::Unreadable(_) => return None,
        })
    }

    /// The order it is about; catalogue and stock records are about a SKU.
    #[must_use]
    pub fn order(&self) -> Option<Uuid> {
        match self {
            Self::OrderPlaced(placed) => Some(placed.order),
            Self::OrderConfirmed { order }
            | Self::OrderCancelled { order, .. }
            | Self::SagaStarted { order }
            | Self::SagaStepRecorded { order, .. }
            | Self::SagaEnded { order, .. }
            | Self::CreateInventoryHold { order, .. }
            | Self::CommitInventoryHold { order }
            | Self::ReleaseInventoryHold { order }
            | Self::InventoryReserved { order, .. }
            | Self::InventoryRejected { order }
            | Self::InventoryHoldCommitted { order }
            | Self::InventoryHoldReleased { order, .. }
            | Self::InventoryStepFailed { order }
            | Self::CapturePayment { order, .. }
            | Self::VoidPayment { order }
            | Self::RefundPayment { order }
            | Self::PaymentAuthorized { order, .. }
            | Self::PaymentCaptured { order, .. }
            | Self::PaymentDeclined { order }
            | Self::PaymentVoided { order }
            | Self::PaymentRefunded { order, .. }
            | Self::PaymentStepFailed { order } => Some(*order),
            Self::ProductListed { .. }
            | Self::PriceChanged { .. }
            | Self::StockReceived { .. }
            | Self::StockAdjusted { .. }
            | Self::Unreadable(_) => None,
        }
    }

    /// The SKU it is about, for catalogue and stock records.
    #[must_use]
    pub fn sku(&self) -> Option<&str> {
        if let Self::ProductListed { sku, .. }
        | Self::PriceChanged { sku, .. }
        | Self::StockReceived { sku, .. }
        | Self::StockAdjusted { sku, .. } = self
        {
            Some(sku)
        } else {
            None
        }
    }

    /// The key a record of this value must have.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        self.order().map(|order| order.to_string()).or_else(|| self.sku().map(str::to_owned))
    }

    /// The stream a record of this value must name; a command names its sender's saga.
    #[must_use]
    pub fn stream(&self) -> Option<String> {
        let (_, topic) = self.kind()?;
        let key = self.key()?;
        Some(match topic {
            Topic::OrdersEvents => format!("order-{key}"),
            Topic::OrdersSaga | Topic::InventoryCommands | Topic::PaymentsCommands => format!("saga-{key}"),
            Topic::InventoryEvents if self.sku().is_some() => format!("sku-{key}"),
            Topic::InventoryEvents => format!("hold-{key}"),
            Topic::PaymentsEvents => format!("payment-{key}"),
        })
    }

    /// Whether a client's request, not a message, may be its first cause: placements and the catalogue.
    #[must_use]
    pub fn may_be_first(&self) -> bool {
        matches!(self, Self::OrderPlaced(_) | Self::SagaStarted { .. } | Self::CreateInventoryHold { .. }) || self.sku().is_some()
    }

    /// The service that acts on it, for commands.
    #[must_use]
    pub fn participant(&self) -> Option<Service> {
        match self.kind()?.1 {
            Topic::InventoryCommands => Some(Service::Inventory),
            Topic::PaymentsCommands => Some(Service::Payments),
            Topic::OrdersEvents | Topic::OrdersSaga | Topic::InventoryEvents | Topic::PaymentsEvents => None,
        }
    }
}

/// A decoded Avro record, read by field name; says which field is wrong.
struct Fields<'v>(&'v Value);

impl<'v> Fields<'v> {
    fn get(&self, name: &str) -> Result<&'v Value, String> {
        let Value::Record(fields) = self.0 else { return Err(format!("not a record where {name} was looked for")) };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value).ok_or_else(|| format!("field {name} is missing"))
    }

    fn of(&self, name: &str) -> Result<Self, String> {
        self.get(name).map(Self)
    }

    fn text(&self, name: &str) -> Result<Box<str>, String> {
        let value = self.get(name)?;
        if let Value::String(text) | Value::Enum(_, text) = value {
            Ok(text.as_str().into())
        } else if let Value::Uuid(uuid) = value {
            Ok(uuid.to_string().into())
        } else {
            Err(format!("field {name} is no text: {value:?}"))
        }
    }

    fn optional_text(&self, name: &str) -> Result<Option<Box<str>>, String> {
        let value = self.get(name)?;
        let value = if let Value::Union(_, inner) = value { inner } else { value };
        if let Value::String(text) | Value::Enum(_, text) = value {
            Ok(Some(text.as_str().into()))
        } else if *value == Value::Null {
            Ok(None)
        } else {
            Err(format!("field {name} is no text: {value:?}"))
        }
    }

    fn uuid(&self, name: &str) -> Result<Uuid, String> {
        let value = self.get(name)?;
        if let Value::Uuid(uuid) = value {
            Ok(*uuid)
        } else if let Value::String(text) = value {
            Uuid::parse_str(text).map_err(|fault| format!("field {name} is no UUID: {fault}"))
        } else {
            Err(format!("field {name} is no UUID: {value:?}"))
        }
    }

    fn long(&self, name: &str) -> Result<i64, String> {
        let value = self.get(name)?;
        if let Value::Long(number) = value {
            Ok(*number)
        } else if let Value::Int(number) = value {
            Ok(i64::from(*number))
        } else {
            Err(format!("field {name} is no number: {value:?}"))
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        let value = self.get(name)?;
        if let Value::Bytes(bytes) | Value::Fixed(_, bytes) = value {
            Ok(bytes.clone())
        } else {
            Err(format!("field {name} is no bytes: {value:?}"))
        }
    }

    fn list(&self, name: &str) -> Result<&'v [Value], String> {
        let value = self.get(name)?;
        if let Value::Array(items) = value { Ok(items) } else { Err(format!("field {name} is no list: {value:?}")) }
    }

    fn money(&self, name: &str) -> Result<Money, String> {
        let money = self.of(name)?;
        Ok(Money { minor: money.long("minor")?, currency: money.text("currency")? })
    }

    fn units(&self, name: &str) -> Result<Units, String> {
        self.list(name)?.iter().map(Fields).map(|line| Ok((line.text("sku")?, line.long("quantity")?))).collect()
    }
}
