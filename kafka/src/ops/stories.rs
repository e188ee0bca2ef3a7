//! Sagas, and everything a service knows of one story.

use actix_web::web::{self, Bytes, Data, Path, ReqData, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use operation::Act;

use super::admission::Bearer;
use super::desk::{Desk, SagaStatus, Slot, answer, instant, signed};
use super::letters::{effect, json, summary};
use super::problem::Refusal;
use super::query::Wanted;
use crate::retry::{self, Filter, look};

/// Letters of one story that are shown.
const LETTERS: i64 = 100;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .route("/ops/sagas", web::get().to(list))
        .route("/ops/sagas/{id}", web::get().to(show))
        .route("/ops/sagas/{id}/resume", web::post().to(resume))
        .route("/ops/sagas/{id}/abandon", web::post().to(abandon))
        .route("/ops/subjects/{id}/erase", web::post().to(erase))
        .route("/ops/stories/{id}", web::get().to(story));
}

async fn list(slot: Data<Slot>, request: HttpRequest) -> HttpResponse {
    answer(&slot, |desk| {
        let wanted = Wanted::read(request.query_string(), &["status", "after", "limit"])?;
        let status = match wanted.status.as_deref() {
            None | Some("stuck") => SagaStatus::Stuck,
            Some("running") => SagaStatus::Running,
            Some(other) => return Err(Refusal::query(format!("status {other} is neither stuck nor running"))),
        };
        let sagas = desk.sagas.clone().ok_or_else(Refusal::nothing_here)?;
        let found = sagas.list(desk.units.clone(), status, wanted.after, i64::from(wanted.limit).saturating_add(1));
        let size = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        Ok(async move {
            let mut data = found.await?;
            let more = data.len() > size;
            data.truncate(size);
            let next = data.last().filter(|_| more).map(|saga| saga.id.clone());
            let now = instant(look::now(&mut *desk.units.pool().acquire().await?).await?);
            Ok(operation::Sagas { now, data, next })
        })
    })
    .await
}

async fn show(slot: Data<Slot>, id: Path<String>) -> HttpResponse {
    answer(&slot, |desk| {
        let sagas = desk.sagas.clone().ok_or_else(Refusal::nothing_here)?;
        Ok(sagas.show(desk.units, id.into_inner()))
    })
    .await
}

async fn resume(slot: Data<Slot>, bearer: ReqData<Bearer>, id: Path<String>, body: Bytes) -> HttpResponse {
    answer(&slot, |desk| {
        let mut act: Act = json(&body)?;
        act.who = signed(&bearer, &act.who, &act.why)?;
        let sagas = desk.sagas.clone().ok_or_else(Refusal::nothing_here)?;
        Ok(sagas.resume(desk.units, id.into_inner(), act))
    })
    .await
}

async fn abandon(slot: Data<Slot>, bearer: ReqData<Bearer>, id: Path<String>, body: Bytes) -> HttpResponse {
    answer(&slot, |desk| {
        let mut act: Act = json(&body)?;
        act.who = signed(&bearer, &act.who, &act.why)?;
        let sagas = desk.sagas.clone().ok_or_else(Refusal::nothing_here)?;
        Ok(sagas.abandon(desk.units, id.into_inner(), act))
    })
    .await
}

async fn erase(slot: Data<Slot>, bearer: ReqData<Bearer>, id: Path<String>, body: Bytes) -> HttpResponse {
    answer(&slot, |desk| {
        let mut act: Act = json(&body)?;
        act.who = signed(&bearer, &act.who, &act.why)?;
        let erasures = desk.erasures.clone().ok_or_else(Refusal::nothing_here)?;
        Ok(erasures.erase(id.into_inner(), act))
    })
    .await
}

async fn story(slot: Data<Slot>, id: Path<String>) -> HttpResponse {
    answer(&slot, |desk| Ok(told(desk, id.into_inner()))).await
}

async fn told(desk: Desk, id: String) -> Result<operation::Story, Refusal> {
    let streams = (desk.streams_of)(&id);
    let (now, recorded, calls, letters) = {
        let mut db = desk.units.pool().acquire().await?;
        let filter = Filter { correlation: Some(id), ..Filter::default() };
        (
            instant(look::now(&mut db).await?),
            look::events_of(&mut db, &streams).await?,
            look::calls_of(&mut db, &streams).await?,
            retry::list(&mut db, desk.service, &filter, LETTERS).await?,
        )
    };
    let mut events = Vec::with_capacity(recorded.len());
    for event in recorded {
        let body = desk.units.codec().show(Some(&event.payload)).await.map(|(_, _, json)| json).unwrap_or_default();
        events.push(operation::Event {
            stream: event.stream,
            version: event.version,
            record: event.record,
            id: event.id.to_string(),
            cause: event.cause.to_string(),
            at: instant(event.at),
            body,
        });
    }
    Ok(operation::Story {
        service: desk.service.to_owned(),
        now,
        events,
        effects: calls.into_iter().map(effect).collect(),
        letters: letters.iter().map(summary).collect(),
    })
}
