//! The parts of the OpenAPI document that follow from the types: every schema, and the schemas of values that live in the crate
//! `values`, which knows no OpenAPI.

use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    CancelReason, Categories, Category, Contact, Created, Fault, NewProduct, NewProducts, Order, OrderEvent, OrderLine, OrderStatus, Page,
    Payment, PlaceOrder, PricedLine, ProblemDocument, Product, Received, StockReceipt, StockReceipts,
};

/// The stock keeping unit, the name of one product.
#[derive(Debug, ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$", examples("1095275"))]
pub struct Sku(#[expect(dead_code, reason = "it only stands for a schema")] String);

/// Units of one product.
#[derive(Debug, ToSchema)]
#[schema(minimum = 1, maximum = 1000000, examples(2))]
pub struct Quantity(#[expect(dead_code, reason = "it only stands for a schema")] i64);

/// An amount of money.
#[derive(Debug, ToSchema)]
pub struct Money {
    /// Minor units of the currency: 899 USD is $8.99.
    #[schema(examples(899))]
    pub minor: i64,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", examples("USD"))]
    pub currency: String,
}

/// The price of one unit of a product.
#[derive(Debug, ToSchema)]
pub struct Price {
    /// Minor units of the currency: 899 USD is $8.99.
    #[schema(minimum = 1, maximum = 1000000000, examples(899))]
    pub minor: i64,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", examples("USD"))]
    pub currency: String,
}

/// The document without its paths: those follow from the gateway's route table.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Orders",
        version = "1",
        description = "Places orders, tells how they go, keeps the catalogue.\n\nEvery refusal is `application/problem+json` (RFC 9457) with a stable `code`; \
            its page is at `/problems/{code}`. What must not happen twice carries an `Idempotency-Key`, and a repeated request is answered as the first was.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    tags(
        (name = "orders", description = "A customer's own orders."),
        (name = "catalogue", description = "What can be ordered, and how much of it there is."),
    ),
    components(schemas(
        Sku, Quantity, Money, Price, PlaceOrder, OrderLine, Payment, Contact, Order, PricedLine, OrderStatus, CancelReason, OrderEvent, Page<Order>,
        Page<Product>, Product, Categories, Category, NewProducts, NewProduct, Created, StockReceipts, StockReceipt, Received, ProblemDocument, Fault, crate::Code,
    )),
    modifiers(&Ways),
)]
pub struct Components;

/// How one may come in.
struct Ways;

impl Modify for Ways {
    fn modify(&self, document: &mut Document) {
        let Some(components) = document.components.as_mut() else { return };
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let bearer = bearer.description(Some("An access token of the identity provider, with the scopes an operation names."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    }
}
