//! The table a reader starts from: what the gateway serves, who may ask, and which service answers it. `openapi.json` is written from it.

use actix_web::http::Method;
use contract::Code;
use contract::limits::{BODY_BYTES_MAX, LIST_BODY_BYTES_MAX};
use identity::Scope;

/// One line of the table.
#[derive(Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; `{id}` is an order id.
    pub path: &'static str,
    /// Its name in the OpenAPI document and in clients made from it.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What else a client should know.
    pub description: &'static str,
    /// Who answers.
    pub upstream: Service,
    /// Who may ask.
    pub access: Access,
    /// What is sent with it.
    pub body: Body,
    /// What stands behind the question mark.
    pub query: Query,
    /// How it succeeds.
    pub successes: &'static [Success],
    /// How it is refused, beside what follows from the other columns.
    pub problems: &'static [Code],
    /// What happens after the upstream has answered.
    pub then: Then,
    /// Whether it goes away.
    pub deprecated: Option<Deprecation>,
}

/// A service behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// order-service.
    Orders,
    /// inventory-service.
    Inventory,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Orders, Self::Inventory];

    /// Its name in logs, metrics and probes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Public,
    /// A customer with this scope, and for itself only.
    Customer(Scope),
    /// Whoever has this scope.
    Holder(Scope),
}

/// What is sent with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// Nothing that is read; what clients send all the same is thrown away.
    Ignored,
    /// An order; needs an idempotency key.
    PlaceOrder,
    /// Products; needs an idempotency key.
    NewProducts,
    /// Receipts; needs an idempotency key.
    StockReceipts,
}

impl Body {
    /// Most bytes of it.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::None => 0,
            Self::Ignored | Self::PlaceOrder => BODY_BYTES_MAX,
            Self::NewProducts | Self::StockReceipts => LIST_BODY_BYTES_MAX,
        }
    }
}

/// What stands behind the question mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Nothing that is read.
    None,
    /// A page of orders.
    Orders,
    /// A page of products, searched.
    Products,
}

/// One way to succeed.
#[derive(Debug)]
pub struct Success {
    /// The status.
    pub status: u16,
    /// When it is that.
    pub description: &'static str,
    /// The schema of the body; none where there is no JSON.
    pub schema: Option<&'static str>,
    /// Headers of note.
    pub headers: &'static [&'static str],
}

/// What happens after the upstream has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The answer is the client's.
    Answer,
    /// It waits until order-service knows the prices: 201 when it does, 202 when it takes too long.
    WaitForPrices,
    /// It is the beginning of a stream of server-sent events.
    Stream,
}

/// A route that goes away (RFC 9745, RFC 8594).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deprecation {
    /// Since when it should not be used any more, in seconds since 1970.
    pub since_unix_seconds: i64,
    /// When it may be gone, as an HTTP date.
    pub sunset: &'static str,
    /// Where it says what to use in its place.
    pub link: &'static str,
}

const ORDER: &str = "Order";

/// The table.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/orders",
        name: "placeOrder",
        summary: "Place an order",
        description: "The server prices the order. It is accepted at once and decided soon after: follow it at `Location`, by its events, or \
            ask with `Prefer: wait=5` to be answered when it is decided. With `Prefer: ack=published` it is answered once the order is in the log \
            as well as in the database, so that losing either loses no order; if that takes longer than 5 s the answer is `not_published`, and the \
            same key leads to the same order.",
        upstream: Service::Orders,
        access: Access::Customer(Scope::OrdersWrite),
        body: Body::PlaceOrder,
        query: Query::None,
        successes: &[
            Success {
                status: 202,
                description: "Placed, or placed before with this key.",
                schema: Some(ORDER),
                headers: &["Location", "ETag", "Retry-After", "Preference-Applied", "Idempotent-Replayed"],
            },
            Success {
                status: 200,
                description: "Placed, and ended within the wait that `Prefer` asked for.",
                schema: Some(ORDER),
                headers: &["Location", "ETag", "Preference-Applied", "Idempotent-Replayed"],
            },
        ],
        problems: &[Code::UnknownSku, Code::MixedCurrencies, Code::TotalOverflow, Code::TooManyOpenOrders, Code::NotPublished],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::GET,
        path: "/v1/orders",
        name: "listOrders",
        summary: "List one's own orders, newest first",
        description: "",
        upstream: Service::Orders,
        access: Access::Customer(Scope::OrdersRead),
        body: Body::None,
        query: Query::Orders,
        successes: &[Success { status: 200, description: "One page.", schema: Some("Page_Order"), headers: &["Link"] }],
        problems: &[Code::InvalidCursor],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::GET,
        path: "/v1/orders/{id}",
        name: "getOrder",
        summary: "Read one of one's own orders",
        description: "With `Prefer: wait=5` the answer waits until the order has ended, but no longer than that.",
        upstream: Service::Orders,
        access: Access::Customer(Scope::OrdersRead),
        body: Body::None,
        query: Query::None,
        successes: &[
            Success { status: 200, description: "The order.", schema: Some(ORDER), headers: &["ETag", "Preference-Applied"] },
            Success { status: 304, description: "It is as `If-None-Match` says.", schema: None, headers: &["ETag"] },
        ],
        problems: &[],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::GET,
        path: "/v1/orders/{id}/events",
        name: "followOrder",
        summary: "Follow one of one's own orders",
        description: "Server-sent events: `id` counts from 1 without gaps, `event` is the type, `data` an `OrderEvent`. A client that comes \
            back with `Last-Event-ID` gets what it missed, nothing twice. Comments keep the connection alive. The stream ends with the order; \
            asking again after the last event is answered 204, at which an `EventSource` stops.",
        upstream: Service::Orders,
        access: Access::Customer(Scope::OrdersRead),
        body: Body::None,
        query: Query::None,
        successes: &[
            Success { status: 200, description: "The stream.", schema: None, headers: &[] },
            Success { status: 204, description: "The order has ended and everything about it was told.", schema: None, headers: &[] },
        ],
        problems: &[Code::InvalidEventId],
        then: Then::Stream,
        deprecated: None,
    },
    Route {
        method: Method::POST,
        path: "/v1/orders/{id}/cancel",
        name: "cancelOrder",
        summary: "Cancel one of one's own orders",
        description: "Possible until it is confirmed. Asking twice changes nothing.",
        upstream: Service::Orders,
        access: Access::Customer(Scope::OrdersWrite),
        body: Body::Ignored,
        query: Query::None,
        successes: &[
            Success {
                status: 202,
                description: "Asked for: it is cancelled, or will be when its payment is undone.",
                schema: Some(ORDER),
                headers: &["ETag"],
            },
            Success { status: 200, description: "It was cancelled before.", schema: Some(ORDER), headers: &["ETag"] },
        ],
        problems: &[Code::OrderAlreadyConfirmed, Code::PreconditionFailed],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::GET,
        path: "/v1/categories",
        name: "listCategories",
        summary: "List the categories of the catalogue",
        description: "By name, each with how many products are in it: what `category` of the catalogue may be.",
        upstream: Service::Inventory,
        access: Access::Public,
        body: Body::None,
        query: Query::None,
        successes: &[Success { status: 200, description: "All of them.", schema: Some("Categories"), headers: &["Cache-Control"] }],
        problems: &[],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::GET,
        path: "/v1/products",
        name: "listProducts",
        summary: "Browse and search the catalogue",
        description: "In the order of SKUs. Caches may keep a page for some seconds.",
        upstream: Service::Inventory,
        access: Access::Public,
        body: Body::None,
        query: Query::Products,
        successes: &[Success { status: 200, description: "One page.", schema: Some("Page_Product"), headers: &["Cache-Control", "Link"] }],
        problems: &[Code::InvalidCursor],
        then: Then::Answer,
        deprecated: None,
    },
    Route {
        method: Method::POST,
        path: "/v1/products",
        name: "createProducts",
        summary: "List products, each with its first receipt",
        description: "A product that is listed already gets the new entry and no receipt, and is not counted as created.",
        upstream: Service::Inventory,
        access: Access::Holder(Scope::StockWrite),
        body: Body::NewProducts,
        query: Query::None,
        successes: &[
            Success { status: 201, description: "Listed, and can be ordered.", schema: Some("Created"), headers: &["Idempotent-Replayed"] },
            Success {
                status: 202,
                description: "Listed, and can be ordered soon.",
                schema: Some("Created"),
                headers: &["Idempotent-Replayed"],
            },
        ],
        problems: &[],
        then: Then::WaitForPrices,
        deprecated: None,
    },
    Route {
        method: Method::POST,
        path: "/v1/stock",
        name: "receiveStock",
        summary: "Receive units, all of the receipts or none",
        description: "",
        upstream: Service::Inventory,
        access: Access::Holder(Scope::StockWrite),
        body: Body::StockReceipts,
        query: Query::None,
        successes: &[Success { status: 200, description: "Received.", schema: Some("Received"), headers: &["Idempotent-Replayed"] }],
        problems: &[Code::UnknownSku],
        then: Then::Answer,
        deprecated: None,
    },
];

/// The paths of the table, each once, in its order.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    let mut paths: Vec<&'static str> = ROUTES.iter().map(|route| route.path).collect();
    // Lines of one path stand together.
    paths.dedup();
    paths
}

/// The methods `path` takes, as the header `Allow` lists them.
#[must_use]
pub fn allowed(path: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method.as_str());
    methods.collect::<Vec<_>>().join(", ")
}
