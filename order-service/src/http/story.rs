//! What happened to an order, for the gateway, which makes a stream of it.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use contract::{Code, EventsQuery, OrderEvent, OrderEvents, Problem, limits};
use identity::Scope;
use tokio::time::Instant;
use values::{CustomerId, OrderId};

use super::{Answer, Face, busy, customer, fresh, internal, order_id, unavailable};
use crate::store::{self, Unreadable};

/// The story as it is now, and what to wait behind.
struct Now {
    events: Vec<OrderEvent>,
    ended: bool,
    version: i64,
}

/// `GET /internal/orders/{id}/events?after=&wait_ms=`: what follows the event `after`; waits for it if there is nothing yet.
pub(super) async fn events(face: Data<Face>, request: HttpRequest, id: Path<String>) -> Answer {
    // Problems are the client's, who asked for the public path.
    let public = request.path().replacen("/internal/", "/v1/", 1);
    let here = |problem: Problem| problem.with_instance(public.clone());
    let customer = customer(&face, &request, Scope::OrdersRead).await.map_err(here)?;
    let id = order_id(&id).map_err(here)?;
    let query = EventsQuery::parse(request.query_string()).map_err(here)?;
    let found = tell(&face, &customer, id, query).await.map_err(here)?;
    Ok(fresh(&found))
}

async fn tell(face: &Face, customer: &CustomerId, id: OrderId, query: EventsQuery) -> Result<OrderEvents, Problem> {
    let until = Instant::now() + query.wait;
    loop {
        let Now { mut events, ended, version } = look(face, customer, id).await?;
        let known = usize::try_from(query.after).ok().filter(|known| *known <= events.len());
        let known = known.ok_or_else(|| Problem::new(Code::InvalidEventId))?;
        let page = usize::try_from(limits::EVENTS_MAX).unwrap_or(usize::MAX);
        let fits = events.len() - known <= page;
        events = events.into_iter().skip(known).take(page).collect();
        let left = until.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
        if !events.is_empty() || ended || left.is_zero() {
            return Ok(OrderEvents { events, ended: ended && fits });
        }
        face.follow.moved(id, version, left).await.map_err(|_too_many| Problem::new(Code::Overloaded))?;
    }
}

async fn look(face: &Face, customer: &CustomerId, id: OrderId) -> Result<Now, Problem> {
    let (units, customer) = (face.units.clone(), customer.clone());
    let look = async move {
        let mut db = units.pool().acquire().await?;
        // In this order: what happens between two of them is told the next time, and never missed.
        let version = store::saga_versions(&mut db, &[id]).await?.get(&id).copied().unwrap_or(0);
        let Some(order) = store::find_order(&mut db, &customer, id).await? else { return Ok(None) };
        let events = store::order_events(&mut db, units.codec(), id).await?;
        Ok::<_, Unreadable>(Some(Now { events, ended: order.shown.ended_at.is_some(), version }))
    };
    match face.bridge.run(look).await.map_err(busy)? {
        Ok(Some(now)) => Ok(now),
        Ok(None) => Err(Problem::new(Code::OrderNotFound)),
        Err(Unreadable::Database(error)) => Err(unavailable(&error)),
        Err(Unreadable::Event(failure)) => Err(internal(&failure)),
    }
}
