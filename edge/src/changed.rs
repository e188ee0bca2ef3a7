//! What changed in the catalogue, as tags of cached pages.

use std::collections::BTreeSet;

use serde_json::Value;

/// On every page of the catalogue.
pub(crate) const CATALOGUE: &str = "catalogue";
/// On pages with more products than have tags of their own.
pub(crate) const MANY: &str = "many";
/// More products than this change the catalogue as a whole: one tag is cheaper to look for than hundreds.
const PRODUCTS_MAX: usize = 200;

/// What changed since the cache was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    everything: bool,
    skus: BTreeSet<String>,
}

impl Changed {
    /// All of it, for all that is known: at the start, and behind an event that cannot be read.
    #[must_use]
    pub(crate) fn everything() -> Self {
        Self { everything: true, skus: BTreeSet::new() }
    }

    /// Adds what the event `full_name` of `inventory.events` with this body changed.
    pub(crate) fn add(&mut self, full_name: &str, body: &Value) {
        match full_name {
            // units of the products it names
            "inventory.InventoryReserved" | "inventory.InventoryHoldReleased" => {
                let lines = body.get("lines").and_then(Value::as_array).into_iter().flatten();
                self.skus.extend(lines.filter_map(|line| line.get("sku").and_then(Value::as_str)).map(str::to_owned));
            }
            "inventory.StockReceived" | "inventory.StockAdjusted" => match body.get("sku").and_then(Value::as_str) {
                Some(sku) => {
                    self.skus.insert(sku.to_owned());
                }
                None => self.everything = true,
            },
            // no unit of anything
            "inventory.InventoryRejected" | "inventory.InventoryHoldCommitted" | "inventory.StepFailed" => {}
            // a product that is new, or whose price is, can come onto pages that never had it; so may what is not known here
            _ => self.everything = true,
        }
    }

    /// Adds what `other` has.
    pub(crate) fn join(&mut self, other: Self) {
        self.everything |= other.everything;
        self.skus.extend(other.skus);
    }

    /// The tags of the pages to forget, `|` between them; none where nothing changed.
    #[must_use]
    pub(crate) fn tags(&self) -> Option<String> {
        if self.everything || self.skus.len() > PRODUCTS_MAX {
            return Some(CATALOGUE.to_owned());
        }
        if self.skus.is_empty() {
            return None;
        }
        let products = self.skus.iter().map(|sku| format!("sku:{sku}"));
        Some(products.chain([MANY.to_owned()]).collect::<Vec<_>>().join("|"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(events: &[(&str, Value)]) -> Option<String> {
        let mut changed = Changed::default();
        for (name, body) in events {
            changed.add(&format!("inventory.{name}"), body);
        }
        changed.tags()
    }

    #[test]
    fn units_change_the_pages_of_their_products() {
        let lines = json!({"lines": [{"sku": "tea", "quantity": 1}, {"sku": "a.b", "quantity": 2}]});
        assert_eq!(of(&[("InventoryReserved", lines.clone())]), Some("sku:a.b|sku:tea|many".to_owned()));
        assert_eq!(
            of(&[("InventoryHoldReleased", lines), ("StockReceived", json!({"sku": "tea"}))]),
            Some("sku:a.b|sku:tea|many".to_owned())
        );
        assert_eq!(of(&[("InventoryRejected", json!({})), ("InventoryHoldCommitted", json!({}))]), None);
    }

    #[test]
    fn a_new_product_a_new_price_and_what_is_not_known_change_every_page() {
        for name in ["ProductListed", "PriceChanged", "SomethingNew"] {
            assert_eq!(of(&[(name, json!({"sku": "tea"}))]), Some("catalogue".to_owned()), "{name}");
        }
        assert_eq!(of(&[("StockReceived", json!({}))]), Some("catalogue".to_owned()));
    }

    #[test]
    fn very_many_products_are_the_catalogue() {
        let lines: Vec<Value> = (0..=PRODUCTS_MAX).map(|sku| json!({"sku": sku.to_string()})).collect();
        assert_eq!(of(&[("InventoryReserved", json!({ "lines": lines }))]), Some("catalogue".to_owned()));
    }

    #[test]
    fn what_was_not_told_yet_is_told_with_the_rest() {
        let mut changed = Changed::default();
        changed.add("inventory.StockReceived", &json!({"sku": "tea"}));
        let mut later = Changed::default();
        later.add("inventory.StockReceived", &json!({"sku": "salt"}));
        changed.join(later);
        assert_eq!(changed.tags(), Some("sku:salt|sku:tea|many".to_owned()));
        changed.join(Changed::everything());
        assert_eq!(changed.tags(), Some("catalogue".to_owned()));
    }
}
