//! The public interface's JSON, as an outsider knows it: written from its description, not from the server's types.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::data::{Basket, Product};

/// An order's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Not decided.
    Pending,
    /// Paid; nothing is undone any more.
    Confirmed,
    /// Undone.
    Cancelled,
    /// Only a person can move it on.
    Stuck,
}

impl Status {
    /// The status written `text` in SQL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "PENDING" => Self::Pending,
            "CONFIRMED" => Self::Confirmed,
            "CANCELLED" => Self::Cancelled,
            "STUCK" => Self::Stuck,
            _ => return None,
        })
    }
}

/// What the bench reads of an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// Where it stands.
    pub status: Status,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// When the server accepted it.
    pub placed_at: Timestamp,
    /// When its saga ended.
    pub ended_at: Option<Timestamp>,
}

/// One page of a customer's orders.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// Newest first.
    pub data: Vec<Order>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

/// An RFC 9457 problem; only what the bench reports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// Human text.
    #[serde(default)]
    pub detail: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.code),
            None => f.write_str(&self.code),
        }
    }
}

#[derive(Serialize)]
struct NewOrder<'a> {
    lines: Vec<NewLine<'a>>,
    payment: Payment<'a>,
}

#[derive(Serialize)]
struct NewLine<'a> {
    sku: &'a str,
    quantity: u64,
}

#[derive(Serialize)]
struct Payment<'a> {
    token: &'a str,
}

/// The payment token every order of the bench pays with: the simulator approves it.
const TOKEN: &str = "tok_ok";

/// The body that places `basket`, dirty lines and all.
///
/// # Errors
/// [`serde_json::Error`] never in practice: the value has no map keys to fail on.
pub fn basket_body(basket: &Basket) -> Result<Vec<u8>, serde_json::Error> {
    let lines = basket.lines.iter().map(|line| NewLine { sku: &line.sku, quantity: line.quantity }).collect();
    serde_json::to_vec(&NewOrder { lines, payment: Payment { token: TOKEN } })
}

/// The body of a one-line order.
///
/// # Errors
/// As [`basket_body`].
pub fn one_line_body(sku: &str, quantity: u64) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&NewOrder { lines: vec![NewLine { sku, quantity }], payment: Payment { token: TOKEN } })
}

/// One product as `POST /v1/products` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewProduct {
    /// Key.
    pub sku: String,
    /// Never empty.
    pub name: String,
    /// Never empty.
    pub category: String,
    /// Never empty.
    pub brand: String,
    /// Price of a unit.
    pub price: Price,
    /// Units received with its creation.
    pub stock: u64,
}

/// A price in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// Minor units.
    pub minor: i64,
    /// ISO 4217.
    pub currency: &'static str,
}

/// Currency of every price the bench sends.
const CURRENCY: &str = "USD";

impl From<&Product> for NewProduct {
    fn from(product: &Product) -> Self {
        Self {
            sku: product.sku.clone(),
            name: product.name(),
            category: product.category().to_owned(),
            brand: product.brand.clone(),
            price: Price { minor: product.list_price_minor, currency: CURRENCY },
            stock: product.initial_stock(),
        }
    }
}

impl NewProduct {
    /// The `number`th made-up product of the one-line mode, with `stock` units.
    #[must_use]
    pub fn made_up(number: usize, stock: u64) -> Self {
        Self {
            sku: made_up_sku(number),
            name: format!("Bench product {number}"),
            category: "BENCH".into(),
            brand: "Bench".into(),
            price: Price { minor: 100, currency: CURRENCY },
            stock,
        }
    }
}

/// SKU of the `number`th made-up product.
#[must_use]
pub fn made_up_sku(number: usize) -> String {
    format!("bench-{number:05}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Line;

    #[test]
    fn a_dirty_basket_is_sent_as_it_is() {
        let lines = vec![Line { sku: "1".into(), quantity: 0 }, Line { sku: "2".into(), quantity: 30_580 }];
        let body = basket_body(&Basket { basket: "7".into(), household: "9".into(), lines }).unwrap();
        let expected = r#"{"lines":[{"sku":"1","quantity":0},{"sku":"2","quantity":30580}],"payment":{"token":"tok_ok"}}"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn an_order_is_read_whatever_else_it_says() {
        let text = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","status":"CANCELLED","reason":"out_of_stock","lines":[],
            "total":{"minor":1,"currency":"USD"},"placed_at":"2026-11-23T05:00:00.000001Z","ended_at":"2026-11-23T05:00:01Z"}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert_eq!((order.status, order.reason.as_deref()), (Status::Cancelled, Some("out_of_stock")));
        assert_eq!(order.ended_at.unwrap().duration_since(order.placed_at).as_micros(), 999_999);
    }

    #[test]
    fn products_are_sent_as_the_interface_lists_them() {
        let body = serde_json::to_value([NewProduct::made_up(3, 7)]).unwrap();
        let expected = serde_json::json!([{"sku": "bench-00003", "name": "Bench product 3", "category": "BENCH", "brand": "Bench",
            "price": {"minor": 100, "currency": "USD"}, "stock": 7}]);
        assert_eq!(body, expected);
    }
}
