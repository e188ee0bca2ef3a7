//! The table a reader starts from: what the gateway serves, and which service answers it.

use actix_web::http::Method;
use contract::limits::{BODY_BYTES_MAX, LIST_BODY_BYTES_MAX};

/// One line of the table.
#[derive(Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; `{id}` is an order id.
    pub path: &'static str,
    /// Who answers.
    pub upstream: Service,
    /// Who may ask.
    pub caller: Caller,
    /// Most bytes of a body.
    pub body_bytes_max: usize,
    /// What happens after the upstream has answered.
    pub then: Then,
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
pub enum Caller {
    /// A customer, and for itself only.
    Customer,
    /// Anyone.
    Anyone,
}

/// What happens after the upstream has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The answer is the client's.
    Answer,
    /// It waits until order-service knows the prices: 201 when it does, 202 when it takes too long.
    WaitForPrices,
}

/// The table.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/orders",
        upstream: Service::Orders,
        caller: Caller::Customer,
        body_bytes_max: BODY_BYTES_MAX,
        then: Then::Answer,
    },
    Route {
        method: Method::GET,
        path: "/v1/orders",
        upstream: Service::Orders,
        caller: Caller::Customer,
        body_bytes_max: 0,
        then: Then::Answer,
    },
    Route {
        method: Method::GET,
        path: "/v1/orders/{id}",
        upstream: Service::Orders,
        caller: Caller::Customer,
        body_bytes_max: 0,
        then: Then::Answer,
    },
    Route {
        method: Method::POST,
        path: "/v1/orders/{id}/cancel",
        upstream: Service::Orders,
        caller: Caller::Customer,
        body_bytes_max: BODY_BYTES_MAX,
        then: Then::Answer,
    },
    Route {
        method: Method::GET,
        path: "/v1/products",
        upstream: Service::Inventory,
        caller: Caller::Anyone,
        body_bytes_max: 0,
        then: Then::Answer,
    },
    Route {
        method: Method::POST,
        path: "/v1/products",
        upstream: Service::Inventory,
        caller: Caller::Anyone,
        body_bytes_max: LIST_BODY_BYTES_MAX,
        then: Then::WaitForPrices,
    },
    Route {
        method: Method::POST,
        path: "/v1/stock",
        upstream: Service::Inventory,
        caller: Caller::Anyone,
        body_bytes_max: LIST_BODY_BYTES_MAX,
        then: Then::Answer,
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
