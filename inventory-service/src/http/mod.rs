//! The HTTP face: products and receipts. Who asks is checked here again, though the gateway has. Handlers never touch the pool: its futures run on the main runtime, bounded.

mod products;
mod request;
mod stock;

use actix_web::http::Method;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use contract::{Code, Problem, headers};
use identity::{Door, Scope};
use kafka::config::Config;
use kafka::{Bridge, Context, Refused, Units, anyhow_lite};
use values::CustomerId;

use request::Ended;

/// What every HTTP worker shares.
#[derive(Debug, Clone)]
pub struct Http {
    door: Door,
    bridge: Bridge,
    units: Units,
}

/// Where customers and operators are let in or not.
pub(crate) fn door(config: &Config) -> anyhow_lite::Result<Door> {
    let trusts_header = config.text("trust_customer_header")? == "true";
    Ok(Door::new(config.optional("oidc_issuer"), config.optional("oidc_audience"), trusts_header)?)
}

impl Http {
    pub(crate) fn new(context: &Context) -> anyhow_lite::Result<Self> {
        Ok(Self::of(door(&context.config)?, context.bridge.clone(), context.units.clone()))
    }

    pub(crate) const fn of(door: Door, bridge: Bridge, units: Units) -> Self {
        Self { door, bridge, units }
    }

    /// Lets in who may change stock, and says who it is; nobody where the network is trusted and the request names nobody.
    async fn admit(&self, request: &HttpRequest) -> Result<Option<CustomerId>, Problem> {
        Ok(self.door.admit(request.headers(), Scope::StockWrite).await?.customer)
    }
}

/// Registers the routes.
pub(crate) fn configure(http: &Http, config: &mut ServiceConfig) {
    config
        .app_data(Data::new(http.clone()))
        .service(
            web::resource("/v1/products")
                .get(products::list)
                .route(web::method(Method::POST).to(products::create))
                .default_service(web::to(method_not_allowed)),
        )
        .service(web::resource("/v1/categories").get(products::categories).default_service(web::to(method_not_allowed)))
        .service(
            web::resource("/v1/stock").route(web::method(Method::POST).to(stock::receive)).default_service(web::to(method_not_allowed)),
        )
        .default_service(web::to(not_found));
}

async fn not_found(request: HttpRequest) -> Problem {
    Problem::new(Code::NotFound).with_instance(request.path())
}

async fn method_not_allowed(request: HttpRequest) -> Problem {
    Problem::new(Code::MethodNotAllowed).with_instance(request.path())
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Overloaded => Problem::new(Code::Overloaded),
        Refused::Stopped => Problem::new(Code::Unavailable),
    }
}

/// The answer to a request that must not happen twice.
fn answer(ended: Ended, mut success: actix_web::HttpResponseBuilder) -> Result<HttpResponse, Problem> {
    match ended {
        Ended::Done(body) => Ok(success.content_type("application/json").body(body)),
        Ended::Replayed(body) => {
            metrics::counter!("idempotency_replays_total").increment(1);
            Ok(success.content_type("application/json").insert_header((headers::IDEMPOTENT_REPLAYED, "true")).body(body))
        }
        Ended::Refused(problem) => Err(problem),
    }
}
