//! Between records and the domain. To a record always succeeds; from a record is checked.

use inventory_domain::hold::{self, Shortage};
use inventory_domain::product::{self, Entry, Label, LabelError};
use inventory_domain::{Line, Lines, LinesError, Units, UnitsError};
use kafka::{Failure, Micros};
use schemas::{common, inventory as record};
use uuid::Uuid;
use values::{Currency, CurrencyError, Money, Quantity, QuantityError, Sku, SkuError};

use crate::store::requests::Request;

/// A record says something that no domain value can say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A SKU.
    #[error("sku")]
    Sku(#[from] SkuError),
    /// A quantity.
    #[error("quantity")]
    Quantity(#[from] QuantityError),
    /// A number of units.
    #[error("units")]
    Units(#[from] UnitsError),
    /// The lines of a hold.
    #[error("lines")]
    Lines(#[from] LinesError),
    /// A text.
    #[error("text")]
    Label(#[from] LabelError),
    /// A currency.
    #[error("currency")]
    Currency(#[from] CurrencyError),
}

impl WireError {
    /// The failure of handling the message that carries it.
    #[must_use]
    pub fn in_message(&self, message: &str, order: Uuid) -> Failure {
        let source = std::error::Error::source(self).map_or_else(String::new, ToString::to_string);
        Failure::permanent("invalid_message", format!("read {message} of order {order}: {self}: {source}"))
    }
}

/// The record of a hold event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the record of that name")]
pub enum HoldRecord {
    Reserved(record::InventoryReserved),
    Rejected(record::InventoryRejected),
    Committed(record::InventoryHoldCommitted),
    Released(record::InventoryHoldReleased),
    StepFailed(record::StepFailed),
}

/// The record of a product event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the record of that name")]
pub enum ProductRecord {
    Listed(record::ProductListed),
    PriceChanged(record::PriceChanged),
    Received(record::StockReceived),
    Adjusted(record::StockAdjusted),
}

/// One line.
///
/// # Errors
/// [`WireError`] names the field.
pub fn line(sku: &str, quantity: i64) -> Result<Line, WireError> {
    Ok(Line { sku: Sku::try_from(sku)?, quantity: Quantity::try_from(quantity)? })
}

/// The lines of a hold.
///
/// # Errors
/// [`WireError`] names the field.
pub fn lines(lines: &[record::HoldLine]) -> Result<Lines, WireError> {
    let lines: Vec<Line> = lines.iter().map(|held| line(&held.sku, held.quantity)).collect::<Result<_, _>>()?;
    Ok(Lines::try_from(lines)?)
}

fn hold_lines(lines: &Lines) -> Vec<record::HoldLine> {
    lines.iter().map(|line| record::HoldLine { sku: line.sku.to_string(), quantity: line.quantity.units() }).collect()
}

/// The record of `event` of the hold of `order`, which happened at `at`.
#[must_use]
pub fn hold_record(order_id: Uuid, event: &hold::Event, at: Micros) -> HoldRecord {
    match event {
        hold::Event::Reserved { lines } => {
            HoldRecord::Reserved(record::InventoryReserved { order_id, lines: hold_lines(lines), reserved_at: at })
        }
        hold::Event::Rejected { short } => {
            let short = short.iter().map(|short| record::Shortage {
                sku: short.line.sku.to_string(),
                requested: short.line.quantity.units(),
                available: short.available.get(),
            });
            HoldRecord::Rejected(record::InventoryRejected { order_id, short: short.collect(), rejected_at: at })
        }
        hold::Event::Committed => HoldRecord::Committed(record::InventoryHoldCommitted { order_id, committed_at: at }),
        hold::Event::Released { lines } => {
            let lines = lines.as_ref().map(hold_lines).unwrap_or_default();
            HoldRecord::Released(record::InventoryHoldReleased { order_id, lines, released_at: at })
        }
        hold::Event::StepFailed { step, code } => {
            HoldRecord::StepFailed(record::StepFailed { order_id, step: step.clone(), code: code.clone(), failed_at: at })
        }
    }
}

/// The event of a record.
///
/// # Errors
/// [`WireError`] names the field.
pub fn hold_event(record: &HoldRecord) -> Result<hold::Event, WireError> {
    Ok(match record {
        HoldRecord::Reserved(record) => hold::Event::Reserved { lines: lines(&record.lines)? },
        HoldRecord::Rejected(record) => {
            let short = record.short.iter().map(|short| {
                let line = line(&short.sku, short.requested)?;
                Ok(Shortage { line, available: Units::try_from(short.available)? })
            });
            hold::Event::Rejected { short: short.collect::<Result<_, WireError>>()? }
        }
        HoldRecord::Committed(_) => hold::Event::Committed,
        HoldRecord::Released(record) if record.lines.is_empty() => hold::Event::Released { lines: None },
        HoldRecord::Released(record) => hold::Event::Released { lines: Some(lines(&record.lines)?) },
        HoldRecord::StepFailed(record) => hold::Event::StepFailed { step: record.step.clone(), code: record.code.clone() },
    })
}

/// An amount as records carry it.
#[must_use]
pub fn money(money: Money) -> common::Money {
    common::Money { minor: money.minor(), currency: money.currency().to_string() }
}

fn domain_money(money: &common::Money) -> Result<Money, WireError> {
    Ok(Money::new(money.minor, Currency::try_from(money.currency.as_str())?))
}

/// What receipts say of the request behind them.
pub(crate) fn request(request: &Request) -> record::Idempotency {
    record::Idempotency { scope: request.scope.to_owned(), key: request.key.clone(), request_hash: request.hash.clone() }
}

/// The record of `event` of the product `sku`, which happened at `at`; a receipt names the request behind it.
#[must_use]
pub fn product_record(sku: &Sku, event: &product::Event, at: Micros, request: Option<&record::Idempotency>) -> ProductRecord {
    let sku = sku.to_string();
    match event {
        product::Event::Listed { entry } => ProductRecord::Listed(record::ProductListed {
            sku,
            name: entry.name.to_string(),
            category: entry.category.to_string(),
            brand: entry.brand.to_string(),
            price: money(entry.price),
            listed_at: at,
        }),
        product::Event::PriceChanged { price } => {
            ProductRecord::PriceChanged(record::PriceChanged { sku, price: money(*price), changed_at: at })
        }
        product::Event::Received { units } => {
            ProductRecord::Received(record::StockReceived { sku, units: units.get(), received_at: at, idempotency: request.cloned() })
        }
        product::Event::Adjusted { units, reason } => {
            ProductRecord::Adjusted(record::StockAdjusted { sku, units: *units, reason: reason.to_string(), adjusted_at: at })
        }
    }
}

/// The event of a record, and the product it is about.
///
/// # Errors
/// [`WireError`] names the field.
pub fn product_event(record: &ProductRecord) -> Result<(Sku, product::Event), WireError> {
    Ok(match record {
        ProductRecord::Listed(record) => {
            let entry = Entry {
                name: Label::try_from(record.name.clone())?,
                category: Label::try_from(record.category.clone())?,
                brand: Label::try_from(record.brand.clone())?,
                price: domain_money(&record.price)?,
            };
            (Sku::try_from(record.sku.as_str())?, product::Event::Listed { entry })
        }
        ProductRecord::PriceChanged(record) => {
            (Sku::try_from(record.sku.as_str())?, product::Event::PriceChanged { price: domain_money(&record.price)? })
        }
        ProductRecord::Received(record) => {
            (Sku::try_from(record.sku.as_str())?, product::Event::Received { units: Units::try_from(record.units)? })
        }
        ProductRecord::Adjusted(record) => {
            let reason = Label::try_from(record.reason.clone())?;
            (Sku::try_from(record.sku.as_str())?, product::Event::Adjusted { units: record.units, reason })
        }
    })
}

#[cfg(test)]
mod tests;
