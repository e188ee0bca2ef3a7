use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use values::Sku;

use crate::{
    Body, Canonical, Faults, Pointer, limits,
    products::{check_count, check_sku},
};

/// Body of the internal `POST /internal/prices/known`: which of these can be ordered already?
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PricesQuery {
    /// 1 to 1,000 SKUs, each once.
    pub skus: Vec<Sku>,
}

impl Body for PricesQuery {
    const BYTES_MAX: usize = limits::LIST_BODY_BYTES_MAX;
    type Wire = wire::PricesQuery;

    fn check(wire: Self::Wire, faults: &mut Faults) -> Option<Self> {
        let place = Pointer::root().member("skus");
        check_count(wire.skus.len(), &place, faults)?;
        let mut seen = HashSet::with_capacity(wire.skus.len());
        let skus = wire.skus.into_iter().enumerate();
        let skus: Vec<Option<Sku>> = skus.map(|(index, sku)| check_sku(sku, &place.entry(index), &mut seen, faults)).collect();
        Some(Self { skus: skus.into_iter().collect::<Option<_>>()? })
    }

    fn feed(&self, canonical: &mut Canonical) {
        canonical.text("prices-query/1");
        canonical.count(self.skus.len());
        for sku in &self.skus {
            canonical.text(sku.as_str());
        }
    }
}

pub(crate) mod wire {
    use super::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct PricesQuery {
        pub(super) skus: Vec<String>,
    }
}

/// Answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricesKnown {
    /// How many of the SKUs have a price.
    pub known: u64,
}
