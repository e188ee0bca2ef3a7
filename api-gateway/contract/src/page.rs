use actix_web::web;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use values::OrderId;

use crate::{Code, Problem, limits};

/// One page of a list as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries, in the order of the list.
    pub data: Vec<T>,
    /// The `after` of the next page; null on the last.
    pub next: Option<String>,
}

/// The query of a list: `?limit=&after=`, both optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Most entries of the page.
    pub limit: u32,
    /// Where the page starts, as the page before said.
    pub after: Option<String>,
}

impl PageQuery {
    /// Reads `query`, the part of the URL behind the question mark. `limit` is 1 to `limit_max`.
    ///
    /// # Errors
    /// `limit_out_of_range`; `invalid_query` for another parameter, or one given twice.
    pub fn parse(query: &str, limit_default: u32, limit_max: u32) -> Result<Self, Problem> {
        let refused = |detail: String| Problem::new(Code::InvalidQuery).with_detail(detail);
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query);
        let pairs = pairs.map_err(|_undecodable| refused("the query does not decode".to_owned()))?;
        let (mut limit, mut after) = (None, None);
        for (name, value) in pairs.into_inner() {
            let slot = match name.as_str() {
                "limit" => &mut limit,
                "after" => &mut after,
                _ => return Err(refused("the parameters are limit and after".to_owned())),
            };
            if slot.replace(value).is_some() {
                return Err(refused("a parameter is given twice".to_owned()));
            }
        }
        let limit = match limit {
            None => limit_default,
            Some(text) => text.parse().ok().filter(|limit| (1..=limit_max).contains(limit)).ok_or_else(|| {
                Problem::new(Code::LimitOutOfRange).with_detail(format!("limit is not a whole number from 1 to {limit_max}"))
            })?,
        };
        // `?after=` is what a client sends that always sends both.
        Ok(Self { limit, after: after.filter(|after| !after.is_empty()) })
    }

    /// The query of `GET /v1/orders`.
    ///
    /// # Errors
    /// As [`PageQuery::parse`].
    pub fn orders(query: &str) -> Result<Self, Problem> {
        Self::parse(query, limits::ORDERS_PAGE_DEFAULT, limits::ORDERS_PAGE_MAX)
    }

    /// The query of `GET /v1/products`.
    ///
    /// # Errors
    /// As [`PageQuery::parse`].
    pub fn products(query: &str) -> Result<Self, Problem> {
        Self::parse(query, limits::PRODUCTS_PAGE_DEFAULT, limits::PRODUCTS_PAGE_MAX)
    }
}

/// Where a page of orders starts: after this order, newest first. Opaque to clients: hex of a version byte, the instant in
/// microseconds and the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderCursor {
    /// When the last order of the page before was placed; whole microseconds.
    pub placed_at: Timestamp,
    /// Its id.
    pub id: OrderId,
}

/// First byte of a cursor; another number means another layout.
const CURSOR_VERSION: u8 = 1;

impl OrderCursor {
    /// The cursor as clients carry it.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(25);
        bytes.push(CURSOR_VERSION);
        bytes.extend_from_slice(&self.placed_at.as_microsecond().to_be_bytes());
        bytes.extend_from_slice(self.id.as_uuid().as_bytes());
        hex::encode(bytes)
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// `invalid_cursor` for anything [`OrderCursor::encode`] did not make.
    pub fn decode(text: &str) -> Result<Self, Problem> {
        Self::from_hex(text).ok_or_else(|| Problem::new(Code::InvalidCursor))
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 25];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (placed_at, id) = rest.split_first_chunk::<8>()?;
        let placed_at = Timestamp::from_microsecond(i64::from_be_bytes(*placed_at)).ok()?;
        let id = OrderId::from(Uuid::from_slice(id).ok()?);
        (*version == CURSOR_VERSION).then_some(Self { placed_at, id })
    }
}
