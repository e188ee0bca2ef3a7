use serde::{Deserialize, Serialize};
use values::Sku;

use crate::{Units, hold, product};

/// The SKU row: units that ever came in, and those of them nobody has claimed.
/// The rest is held for orders or shipped: received = available + held + shipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Units received, net of adjustments.
    pub received: Units,
    /// Units that a new hold may take.
    pub available: Units,
}

/// What one event does to one SKU row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The product.
    pub sku: Sku,
    /// Units more (or fewer) received.
    pub received: i64,
    /// Units more (or fewer) available.
    pub available: i64,
}

/// A change would make a number of a SKU row negative or too large. Decisions never cause one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stock of sku {sku} would leave its range: received {received}, available {available}, changed by {change:?}", received = stock.received, available = stock.available, sku = change.sku)]
pub struct Overdrawn {
    /// The row before the change.
    pub stock: Stock,
    /// The change that does not fit.
    pub change: Change,
}

impl Stock {
    /// The row after `change`.
    ///
    /// # Errors
    /// [`Overdrawn`] when a number would leave the range of [`Units`].
    pub fn changed(self, change: &Change) -> Result<Self, Overdrawn> {
        match (self.received.changed(change.received), self.available.changed(change.available)) {
            (Ok(received), Ok(available)) => Ok(Self { received, available }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(Overdrawn { stock: self, change: change.clone() }),
        }
    }
}

impl hold::Event {
    /// What the event does to the SKU rows: units leave `available` when they are held and come back when they are released.
    /// Committing touches no row, held and shipped are sums over holds.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        match self {
            Self::Reserved { lines } => lines
                .iter()
                .map(|line| Change { sku: line.sku.clone(), received: 0, available: line.quantity.units().saturating_neg() })
                .collect(),
            Self::Released { lines: Some(lines) } => {
                lines.iter().map(|line| Change { sku: line.sku.clone(), received: 0, available: line.quantity.units() }).collect()
            }
            Self::Released { lines: None } | Self::Rejected { .. } | Self::Committed | Self::StepFailed { .. } => Vec::new(),
        }
    }
}

impl product::Event {
    /// What the event does to the row of `sku`.
    #[must_use]
    pub fn change(&self, sku: &Sku) -> Option<Change> {
        let units = match self {
            Self::Received { units } => units.get(),
            Self::Adjusted { units, .. } => *units,
            Self::Listed { .. } | Self::PriceChanged { .. } => return None,
        };
        Some(Change { sku: sku.clone(), received: units, available: units })
    }
}
