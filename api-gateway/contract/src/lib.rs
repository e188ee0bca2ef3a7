//! The HTTP interface as types: what a client may send, what it gets, and how it is refused.
//!
//! | for | use |
//! |---|---|
//! | a request body | [`Json`] as a handler's argument, or [`parse`] on bytes; [`PlaceOrder`] with its [`Contact`], [`NewProducts`], [`StockReceipts`], [`PricesQuery`] |
//! | an idempotent request | [`headers::idempotency_key`] and [`RequestHash`] |
//! | a refusal | [`Problem`] with a [`Code`]; every code has a page in `docs/errors/` |
//! | the story of an order | [`OrderEvents`] |
//! | an answer | [`Order`], [`Product`], [`Categories`], [`Page`], [`Created`], [`Received`] |
//! | a list | [`PageQuery`], [`ProductQuery`], [`OrderCursor`] |
//! | the OpenAPI document | [`schema::Components`] |
//!
//! Bodies are read strictly: an unknown or repeated member, a value of another type or out of its range is refused with a
//! JSON Pointer to it. Nothing here needs a database, a clock or a broker.

mod body;
mod code;
mod contact;
mod decode;
mod events;
pub mod headers;
mod json;
pub mod limits;
mod orders;
mod page;
mod pointer;
mod prices;
mod problem;
mod products;
pub mod schema;
mod stock;
pub mod web;

pub use body::{Body, Canonical, Faults, RequestHash, parse};
pub use code::{Code, UnknownCode};
pub use contact::Contact;
pub use events::{EventsQuery, OrderEvent, OrderEvents};
pub use headers::{IdempotencyKey, IdempotencyKeyError};
pub use orders::{CancelReason, Order, OrderLine, OrderStatus, Payment, PaymentToken, PaymentTokenError, PlaceOrder, PricedLine};
pub use page::{OrderCursor, Page, PageQuery, ProductQuery};
pub use pointer::Pointer;
pub use prices::{PricesKnown, PricesQuery};
pub use problem::{Fault, Problem, ProblemDocument};
pub use products::{Categories, Category, Created, NewProduct, NewProducts, Product};
pub use stock::{Received, StockReceipt, StockReceipts};
pub use web::Json;
