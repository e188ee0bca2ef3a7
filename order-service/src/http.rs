//! The HTTP face: who asks is checked here again, though the gateway has. Handlers run on single-threaded runtimes and never touch the database: they hand over to the main runtime and wait.

mod contact;
mod story;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use contract::headers::Tags;
use contract::{
    Code, Fault, Json, OrderCursor, Page, PageQuery, PlaceOrder, Pointer, PricesKnown, PricesQuery, Problem, RequestHash, headers, limits,
};
use identity::{Door, Scope};
use kafka::seal::Sealer;
use kafka::{Bridge, GroupCommit, Refused, Units};
use order_domain::{Line, Lines, LinesFault, Rejection};
use tokio::time::Instant;
use uuid::Uuid;
use values::{CustomerId, OrderId};

use crate::follow::Follow;
use crate::open_orders::OpenOrders;
use crate::steer::OrderSaga;
use crate::store::Read;
use crate::vault::Vault;
use crate::{cancel, place, store, wire};

/// What the handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Face {
    /// Who is let in.
    pub door: Door,
    /// How many orders a customer may hold.
    pub open_orders: OpenOrders,
    /// For those who wait.
    pub follow: Follow,
    /// For reads.
    pub units: Units,
    /// To the main runtime.
    pub bridge: Bridge,
    /// The writer of placements.
    pub placements: GroupCommit<place::Request, place::Reply>,
    /// The saga that cancel requests go to.
    pub saga: OrderSaga,
    /// For those who want to be answered once their order is published.
    pub published: kafka::relay::Published,
    /// Seals payment tokens, with the order id as subject.
    pub sealer: Arc<Sealer>,
    /// Keys of customers' personal data; none where none can be taken.
    pub vault: Option<Vault>,
}

/// Field name in the associated data of a sealed token; payment-service opens it with the same.
pub const TOKEN_FIELD: &str = "payment_token";

type Answer = Result<HttpResponse, Problem>;

/// Registers the routes.
pub fn configure(face: &Face, config: &mut ServiceConfig) {
    let not_allowed = || web::to(|| async { Problem::new(Code::MethodNotAllowed) });
    config
        .app_data(Data::new(face.clone()))
        .service(
            web::resource("/v1/orders").route(web::post().to(place_order)).route(web::get().to(list_orders)).default_service(not_allowed()),
        )
        .service(web::resource("/v1/orders/{id}").route(web::get().to(get_order)).default_service(not_allowed()))
        .service(web::resource("/v1/orders/{id}/cancel").route(web::post().to(cancel_order)).default_service(not_allowed()))
        .service(web::resource("/internal/orders/{id}/events").route(web::get().to(story::events)).default_service(not_allowed()))
        .service(web::resource("/internal/prices/known").route(web::post().to(known_prices)).default_service(not_allowed()))
        .default_service(web::to(|| async { Problem::new(Code::NotFound) }));
}

/// The customer who asks, if it may use `scope`.
async fn customer(face: &Face, request: &HttpRequest, scope: Scope) -> Result<CustomerId, Problem> {
    face.door.admit(request.headers(), scope).await?.customer()
}

async fn place_order(face: Data<Face>, request: HttpRequest, body: Result<Json<PlaceOrder>, Problem>) -> Answer {
    let here = |problem: Problem| problem.with_instance(request.path());
    let customer = customer(&face, &request, Scope::OrdersWrite).await.map_err(here)?;
    let key = headers::idempotency_key(request.headers()).map_err(here)?;
    let Json(body) = body?;
    let mut hash = RequestHash::of(&body);
    let order_id = OrderId::from(Uuid::now_v7());
    let sealed = face.sealer.seal(&order_id.to_string(), TOKEN_FIELD, body.payment.token.reveal().as_bytes());
    let payment_token = wire::value(&sealed.map_err(|error| here(internal(&error)))?);
    let contact = match body.contact {
        Some(contact) => {
            let sealed = contact::sealed(&face, &customer, order_id, contact).await.map_err(here)?;
            hash = hash.with_secret(&sealed.mac);
            Some(wire::value(&sealed.sealed))
        }
        None => None,
    };
    let lines = body.lines.into_iter().map(|line| Line { sku: line.sku, quantity: line.quantity }).collect();
    let lines = Lines::new(lines).map_err(|fault| here(lines_problem(&fault)))?;
    if let Err(refused) = face.open_orders.admit(&customer, &face.bridge, &face.units).await
        && !was_used(&face, &customer, &key).await
    {
        return Err(here(refused));
    }
    let asker = customer.clone();
    let trace = trace::web::of(&request);
    let reply = face.placements.submit(place::Request { order_id, customer, key, hash, lines, payment_token, contact, trace }).await;
    match reply.map_err(|refused| here(busy(refused)))?.answer().await {
        place::Answer::Placed { order, replayed } => {
            let (published, answered_at) = (headers::prefers_published(request.headers()), Instant::now());
            if published {
                await_published(&face).await.map_err(here)?;
            }
            let ended = match headers::preferred_wait(request.headers()) {
                Some(wait) => ended_within(&face, &asker, order.id, wait.saturating_sub(answered_at.elapsed())).await,
                None => None,
            };
            let mut response = if ended.is_some() { HttpResponse::Ok() } else { HttpResponse::Accepted() };
            response.insert_header((header::LOCATION, format!("/v1/orders/{}", order.id)));
            let applied = [published.then_some("ack=published"), ended.as_ref().map(|_| "wait")];
            if applied.iter().any(Option::is_some) {
                let applied: Vec<&str> = applied.into_iter().flatten().collect();
                response.insert_header((headers::PREFERENCE_APPLIED, applied.join(", ")));
            }
            if replayed {
                metrics::counter!("idempotency_replays_total").increment(1);
                response.insert_header((headers::IDEMPOTENT_REPLAYED, "true"));
            }
            match ended {
                Some(read) => Ok(response.insert_header((header::ETAG, read.tag())).json(read.shown)),
                // As it was placed: version 1 of its stream.
                None => Ok(response.insert_header((header::ETAG, "\"1\"")).insert_header((header::RETRY_AFTER, "1")).json(&*order)),
            }
        }
        place::Answer::Rejected(rejection) => Err(here(rejection_problem(&rejection))),
        place::Answer::KeyReused => Err(here(Problem::new(Code::IdempotencyKeyReused))),
        place::Answer::InFlight => Err(here(Problem::new(Code::RequestInFlight))),
        place::Answer::Overloaded => Err(here(Problem::new(Code::Overloaded))),
        place::Answer::Unavailable => Err(here(Problem::new(Code::Unavailable))),
        place::Answer::Internal => Err(here(Problem::new(Code::Internal))),
    }
}

/// Waits until everything committed so far is published, the order just placed among it. One that waits in vain was placed all
/// the same: its key leads to it.
async fn await_published(face: &Face) -> Result<(), Problem> {
    let (published, units) = (face.published.clone(), face.units.clone());
    let wait = async move { published.wait(units.pool(), limits::PUBLISHED_WITHIN).await };
    match face.bridge.run(wait).await.map_err(busy)? {
        Ok(true) => Ok(()),
        Ok(false) => Err(Problem::new(Code::NotPublished)),
        Err(error) => {
            tracing::warn!(error = %error, "wait until an order is published");
            Err(Problem::new(Code::NotPublished))
        }
    }
}

/// Whether the customer has used the key: then the request is a repetition, and no further order.
async fn was_used(face: &Face, customer: &CustomerId, key: &contract::IdempotencyKey) -> bool {
    let (units, scope, key) = (face.units.clone(), place::scope(customer), key.to_string());
    let look = async move { store::used_keys(&mut *units.pool().acquire().await?, &[(scope.as_str(), key.as_str())]).await };
    matches!(face.bridge.run(look).await, Ok(Ok(used)) if !used.is_empty())
}

/// The order once its saga has ended, if that happens soon enough. A failure on the way only means not to wait.
async fn ended_within(face: &Face, customer: &CustomerId, id: OrderId, wait: Duration) -> Option<Read> {
    let until = Instant::now() + wait;
    loop {
        let (units, customer) = (face.units.clone(), customer.clone());
        let look = async move {
            let mut db = units.pool().acquire().await?;
            // The version first: what happens after it wakes the waiter.
            let versions = store::saga_versions(&mut db, &[id]).await?;
            Ok::<_, sqlx::Error>((versions.get(&id).copied().unwrap_or(0), store::find_order(&mut db, &customer, id).await?))
        };
        let (version, read) = face.bridge.run(look).await.ok()?.ok()?;
        let read = read?;
        if read.shown.ended_at.is_some() {
            return Some(read);
        }
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        face.follow.moved(id, version, left).await.ok()?;
    }
}

async fn get_order(face: Data<Face>, request: HttpRequest, id: Path<String>) -> Answer {
    let here = |problem: Problem| problem.with_instance(request.path());
    let customer = customer(&face, &request, Scope::OrdersRead).await.map_err(here)?;
    let id = order_id(&id).map_err(here)?;
    let ended = match headers::preferred_wait(request.headers()) {
        Some(wait) => ended_within(&face, &customer, id, wait).await,
        None => None,
    };
    let (units, waited) = (face.units.clone(), ended.is_some());
    let read = async move { store::find_order(&mut *units.pool().acquire().await?, &customer, id).await };
    let found = match ended {
        Some(read) => Some(read),
        None => face.bridge.run(read).await.map_err(|refused| here(busy(refused)))?.map_err(|error| here(unavailable(&error)))?,
    };
    let mut read = found.ok_or_else(|| here(Problem::new(Code::OrderNotFound)))?;
    let mut tag = read.tag();
    match contact::kept(&face, id).await.map_err(here)? {
        contact::Kept::Nothing => {}
        contact::Kept::Here(contact) => read.shown.contact = Some(contact),
        contact::Kept::Erased => tag = format!("{}.erased\"", tag.trim_end_matches('"')),
    }
    let known = Tags::of(request.headers(), &header::IF_NONE_MATCH).is_some_and(|known| known.name_weakly(&tag));
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, "no-store"));
    if waited {
        response.insert_header((headers::PREFERENCE_APPLIED, "wait"));
    }
    Ok(if known { response.finish() } else { response.json(read.shown) })
}

async fn list_orders(face: Data<Face>, request: HttpRequest) -> Answer {
    let here = |problem: Problem| problem.with_instance(request.path());
    let customer = customer(&face, &request, Scope::OrdersRead).await.map_err(here)?;
    let query = PageQuery::orders(request.query_string()).map_err(here)?;
    let after = query.after.as_deref().map(OrderCursor::decode).transpose().map_err(here)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let units = face.units.clone();
    // One more than the page tells whether there is a next one.
    let read = async move { store::list_orders(&mut *units.pool().acquire().await?, &customer, after, i64::from(query.limit) + 1).await };
    let orders = face.bridge.run(read).await.map_err(|refused| here(busy(refused)))?;
    let page = page(orders.map_err(|error| here(unavailable(&error)))?, limit);
    let mut response = fresh(&page);
    if let Some(link) = page.link(request.path(), request.query_string()).and_then(|link| header::HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn page(mut orders: Vec<contract::Order>, limit: usize) -> Page<contract::Order> {
    let more = orders.len() > limit;
    orders.truncate(limit);
    let last = orders.last().filter(|_| more).map(|order| OrderCursor { placed_at: order.placed_at, id: order.id }.encode());
    Page { data: orders, next: last }
}

async fn cancel_order(face: Data<Face>, request: HttpRequest, id: Path<String>) -> Answer {
    let here = |problem: Problem| problem.with_instance(request.path());
    let customer = customer(&face, &request, Scope::OrdersWrite).await.map_err(here)?;
    let id = order_id(&id).map_err(here)?;
    let expected = Tags::of(request.headers(), &header::IF_MATCH);
    let (units, saga, trace) = (face.units.clone(), face.saga.clone(), trace::web::of(&request));
    let asked = async move { cancel::cancel(&units, &saga, &customer, (id, trace), expected.as_ref()).await };
    match face.bridge.run(asked).await.map_err(|refused| here(busy(refused)))? {
        Ok(cancel::Answer::Requested(read)) => Ok(HttpResponse::Accepted().insert_header((header::ETAG, read.tag())).json(read.shown)),
        Ok(cancel::Answer::Already(read)) => Ok(HttpResponse::Ok().insert_header((header::ETAG, read.tag())).json(read.shown)),
        Ok(cancel::Answer::Confirmed) => Err(here(Problem::new(Code::OrderAlreadyConfirmed))),
        Ok(cancel::Answer::Changed) => Err(here(Problem::new(Code::PreconditionFailed))),
        Ok(cancel::Answer::NotFound) => Err(here(Problem::new(Code::OrderNotFound))),
        Err(cancel::Error::Database(error)) => Err(here(unavailable(&error))),
        Err(cancel::Error::Defect(failure)) => Err(here(internal(&failure))),
    }
}

async fn known_prices(face: Data<Face>, request: HttpRequest, body: Result<Json<PricesQuery>, Problem>) -> Answer {
    let here = |problem: Problem| problem.with_instance(request.path());
    face.door.admit(request.headers(), Scope::StockWrite).await.map_err(here)?;
    let Json(query) = body?;
    let units = face.units.clone();
    let read = async move { store::count_prices(&mut *units.pool().acquire().await?, &query.skus).await };
    let known = face.bridge.run(read).await.map_err(|refused| here(busy(refused)))?;
    Ok(fresh(&PricesKnown { known: known.map_err(|error| here(unavailable(&error)))? }))
}

/// An answer that is true now and may not be kept.
fn fresh(body: &impl serde::Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// A text that is no id names no order.
fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_not_an_id: values::OrderIdError| Problem::new(Code::OrderNotFound))
}

/// The body's own check finds these first; the domain has the last word.
fn lines_problem(fault: &LinesFault) -> Problem {
    let lines = Pointer::root().member("lines");
    let (pointer, code) = match fault {
        LinesFault::Empty => (lines, Code::EmptyOrder),
        LinesFault::TooMany { .. } => (lines, Code::TooManyLines),
        LinesFault::Twice { line, .. } => (lines.entry(*line).member("sku"), Code::DuplicateSku),
    };
    Problem::of_faults(vec![Fault::new(pointer, code, fault.to_string())])
}

fn rejection_problem(rejection: &Rejection) -> Problem {
    let lines = Pointer::root().member("lines");
    match rejection {
        Rejection::UnknownSkus { lines: unknown } => Problem::of_faults(
            unknown.iter().map(|line| Fault::new(lines.entry(*line).member("sku"), Code::UnknownSku, "no product has this SKU")).collect(),
        ),
        Rejection::MixedCurrencies => Problem::of_faults(vec![Fault::new(lines, Code::MixedCurrencies, rejection.to_string())]),
        Rejection::TotalOverflow => Problem::of_faults(vec![Fault::new(lines, Code::TotalOverflow, rejection.to_string())]),
        Rejection::AlreadyPlaced | Rejection::NotPlaced | Rejection::AlreadyConfirmed | Rejection::AlreadyCancelled => internal(rejection),
    }
}

pub(crate) fn busy(refused: Refused) -> Problem {
    match refused {
        Refused::Overloaded => Problem::new(Code::Overloaded),
        Refused::Stopped => Problem::new(Code::Unavailable),
    }
}

pub(crate) fn unavailable(error: &sqlx::Error) -> Problem {
    tracing::warn!(error = %error, "answer a request");
    Problem::new(Code::Unavailable)
}

fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %error, "answer a request");
    Problem::new(Code::Internal)
}
