//! What the ops port needs of the running service. It is there once the service has started; until then operators are told so.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use actix_web::HttpResponse;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use operation::{Act, Acted, Erased, Saga, SagaDetail};
use serde::Serialize;

use super::admission::Bearer;
use super::problem::Refusal;
use crate::bridge::Bridge;
use crate::store::Units;
use crate::unit::Micros;

/// Which sagas are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SagaStatus {
    /// Something is overdue that nothing replaces.
    Stuck,
    /// Something is awaited.
    Running,
}

/// The sagas a service runs, as operators see them. One that runs none gives none ([`crate::Service::sagas`]).
pub trait Sagas: Send + Sync + 'static {
    /// Sagas by id, behind `after`, at most `limit`.
    fn list(&self, units: Units, status: SagaStatus, after: Option<String>, limit: i64) -> BoxFuture<'static, Result<Vec<Saga>, Refusal>>;

    /// One saga; [`Refusal::no_saga`] if there is none.
    fn show(&self, units: Units, id: String) -> BoxFuture<'static, Result<SagaDetail, Refusal>>;

    /// Sends what is stuck again; [`Refusal::not_stuck`] if nothing is.
    fn resume(&self, units: Units, id: String, act: Act) -> BoxFuture<'static, Result<Acted, Refusal>>;

    /// Counts what is stuck as answered; [`Refusal::not_stuck`] if nothing is.
    fn abandon(&self, units: Units, id: String, act: Act) -> BoxFuture<'static, Result<Acted, Refusal>>;
}

/// The keys of people's data, where a service keeps some ([`crate::Service::erasures`]).
pub trait Erasures: Send + Sync + 'static {
    /// Destroys the keys of everything stored about `subject`; with `act.execute` false says how many there are.
    fn erase(&self, subject: String, act: Act) -> BoxFuture<'static, Result<Erased, Refusal>>;
}

/// What operators work with.
#[derive(Clone)]
pub struct Desk {
    /// The service's name.
    pub service: &'static str,
    /// Its units of work.
    pub units: Units,
    /// To the main runtime: nothing here touches the pool on an HTTP worker.
    pub bridge: Bridge,
    /// Its sagas, if it runs any.
    pub sagas: Option<Arc<dyn Sagas>>,
    /// The keys of people's data, if it keeps some.
    pub erasures: Option<Arc<dyn Erasures>>,
    /// The streams that belong to a story.
    pub streams_of: fn(&str) -> Vec<String>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A desk that will be there once the service has started.
pub type Slot = Arc<OnceLock<Desk>>;

/// Answers with what `work` yields on the main runtime.
pub(super) async fn answer<T, F>(slot: &Slot, work: impl FnOnce(Desk) -> Result<F, Refusal>) -> HttpResponse
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let done = async {
        let desk = slot.get().cloned().ok_or_else(Refusal::starting)?;
        let bridge = desk.bridge.clone();
        bridge.run(work(desk)?).await?
    };
    match done.await {
        Ok(body) => HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(body),
        Err(refusal) => refusal.response(),
    }
}

/// An instant of the database's clock; one out of range is the epoch.
#[must_use]
pub fn instant(micros: Micros) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// Who decides and why must be said, in a few words. Returns the name to keep.
pub(super) fn signed(bearer: &Bearer, who: &str, why: &str) -> Result<String, Refusal> {
    for (name, text, most) in [("who", who, 200), ("why", why, 1_000)] {
        let length = text.chars().count();
        if text.trim().is_empty() || length > most || text.chars().any(char::is_control) {
            return Err(Refusal::unsigned(format!("{name} is a text of 1 to {most} characters without control characters")));
        }
    }
    Ok(bearer.signs(who))
}
