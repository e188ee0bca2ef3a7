use actix_web::web;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use values::OrderId;

use crate::{Code, Problem, limits};

/// One page of a list as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, in the order of the list.
    pub data: Vec<T>,
    /// The `after` of the next page; null on the last.
    #[schema(required)]
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

impl<T> Page<T> {
    /// The value of `Link` that names the next page of the list at `path` with the query `query` (RFC 8288); none on the last page.
    #[must_use]
    pub fn link(&self, path: &str, query: &str) -> Option<String> {
        let next = self.next.as_deref()?;
        // Cursors are of characters that need no escape.
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
        let after = format!("after={next}");
        let query = kept.chain([after.as_str()]).collect::<Vec<_>>().join("&");
        Some(format!("<{path}?{query}>; rel=\"next\""))
    }
}

impl PageQuery {
    /// The query of `GET /v1/orders`.
    ///
    /// # Errors
    /// `limit_out_of_range`; `invalid_query` for another parameter, or one given twice.
    pub fn orders(query: &str) -> Result<Self, Problem> {
        let [limit, after] = parameters(query, ["limit", "after"])?;
        Self::of(limit, after, limits::ORDERS_PAGE_DEFAULT, limits::ORDERS_PAGE_MAX)
    }

    fn of(limit: Option<String>, after: Option<String>, limit_default: u32, limit_max: u32) -> Result<Self, Problem> {
        let limit = match limit {
            None => limit_default,
            Some(text) => text.parse().ok().filter(|limit| (1..=limit_max).contains(limit)).ok_or_else(|| {
                Problem::new(Code::LimitOutOfRange).with_detail(format!("limit is not a whole number from 1 to {limit_max}"))
            })?,
        };
        Ok(Self { limit, after: after.filter(|after| !after.is_empty()) })
    }
}

/// The query of `GET /v1/products`: a page, and what the products on it have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductQuery {
    /// Which page.
    pub page: PageQuery,
    /// Stands in the name, brand or category, in any case.
    pub text: Option<String>,
    /// Is the category.
    pub category: Option<String>,
    /// Least price of one unit, in minor units.
    pub price_min: Option<i64>,
    /// Greatest price of one unit, in minor units.
    pub price_max: Option<i64>,
}

impl ProductQuery {
    /// Reads `query`, the part of the URL behind the question mark.
    ///
    /// # Errors
    /// `limit_out_of_range`; `invalid_query` for another parameter, one given twice, or one that is not as it should be.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let names = ["limit", "after", "q", "category", "price_min", "price_max"];
        let [limit, after, text, category, price_min, price_max] = parameters(query, names)?;
        Ok(Self {
            page: PageQuery::of(limit, after, limits::PRODUCTS_PAGE_DEFAULT, limits::PRODUCTS_PAGE_MAX)?,
            text: word(text, "q")?,
            category: word(category, "category")?,
            price_min: price(price_min, "price_min")?,
            price_max: price(price_max, "price_max")?,
        })
    }
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidQuery).with_detail(detail)
}

/// The values of these parameters, each given at most once, and no others.
pub(crate) fn parameters<const N: usize>(query: &str, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query);
    let pairs = pairs.map_err(|_undecodable| refused("the query does not decode"))?;
    let mut values = [const { None }; N];
    for (name, value) in pairs.into_inner() {
        let slot = values.iter_mut().zip(names).find(|(_, known)| *known == name).map(|(slot, _)| slot);
        let slot = slot.ok_or_else(|| refused(format!("the parameters are {}", names.join(", "))))?;
        if slot.replace(value).is_some() {
            return Err(refused("a parameter is given twice"));
        }
    }
    Ok(values)
}

/// A word of a search. `?q=` is what a client sends that always sends it.
fn word(text: Option<String>, name: &str) -> Result<Option<String>, Problem> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) if text.chars().nth(limits::SEARCH_CHARACTERS_MAX).is_some() || text.chars().any(char::is_control) => {
            Err(refused(format!("{name} is longer than {} characters or has control characters", limits::SEARCH_CHARACTERS_MAX)))
        }
        other => Ok(other),
    }
}

fn price(text: Option<String>, name: &str) -> Result<Option<i64>, Problem> {
    let price = text.filter(|text| !text.is_empty()).map(|text| text.parse().ok().filter(|price: &i64| *price >= 0));
    match price {
        None => Ok(None),
        Some(Some(price)) => Ok(Some(price)),
        Some(None) => Err(refused(format!("{name} is not a whole number of minor units"))),
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
