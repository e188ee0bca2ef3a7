use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, Ref, RefOr, Schema},
};
use values::Sku;

use crate::{
    Body, Canonical, Faults, Pointer, limits,
    products::{check_count, check_sku, check_units},
    schema,
};

/// Body of `POST /v1/stock`: units received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StockReceipts {
    /// 1 to 1,000 receipts, each SKU once.
    pub receipts: Vec<StockReceipt>,
}

/// Units of one SKU that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockReceipt {
    /// What.
    #[schema(value_type = schema::Sku)]
    pub sku: Sku,
    /// How many units, 1 to 10^9.
    #[schema(minimum = 1, maximum = 1000000000)]
    pub units: u32,
}

impl PartialSchema for StockReceipts {
    fn schema() -> RefOr<Schema> {
        let list = ArrayBuilder::new().items(Ref::from_schema_name("StockReceipt"));
        list.min_items(Some(1)).max_items(Some(limits::LIST_ENTRIES_MAX)).into()
    }
}

impl ToSchema for StockReceipts {}

impl Body for StockReceipts {
    const BYTES_MAX: usize = limits::LIST_BODY_BYTES_MAX;
    type Wire = Vec<wire::Receipt>;

    fn check(wire: Self::Wire, faults: &mut Faults) -> Option<Self> {
        let place = Pointer::root();
        check_count(wire.len(), &place, faults)?;
        let mut seen = HashSet::with_capacity(wire.len());
        let receipts = wire.into_iter().enumerate().map(|(index, receipt)| {
            let at = place.entry(index);
            let sku = check_sku(receipt.sku, &at.member("sku"), &mut seen, faults);
            let units = check_units(receipt.units.0, 1, &at.member("units"), faults);
            Some(StockReceipt { sku: sku?, units: units? })
        });
        // Collected whole before it is judged, so that every fault is named.
        let receipts: Vec<Option<StockReceipt>> = receipts.collect();
        Some(Self { receipts: receipts.into_iter().collect::<Option<_>>()? })
    }

    fn feed(&self, canonical: &mut Canonical) {
        canonical.text("stock-receipts/1");
        canonical.count(self.receipts.len());
        for receipt in &self.receipts {
            canonical.text(receipt.sku.as_str());
            canonical.number(i64::from(receipt.units));
        }
    }
}

/// The JSON of a receipts body before its values are checked.
pub(crate) mod wire {
    use super::Deserialize;
    use crate::decode::Whole;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Receipt {
        pub(super) sku: String,
        pub(super) units: Whole,
    }
}

/// Answer to `POST /v1/stock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// How many receipts were booked.
    pub received: u64,
}
