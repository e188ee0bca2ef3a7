//! Whether the service's database must be rebuilt, and the operator's word for it. Answered while nothing else is.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, ReqData, ServiceConfig};
use operation::Act;

use super::admission::Bearer;
use super::desk::signed;
use super::letters::json;
use super::problem::Refusal;
use crate::rebuild::{Status, Wanted};

/// The service's name and where its rebuild stands.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) service: &'static str,
    pub(super) status: Status,
}

pub(super) fn configure(config: &mut ServiceConfig) {
    config.route("/ops/rebuild", web::get().to(show)).route("/ops/rebuild", web::post().to(begin));
}

fn answer(known: &Known) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(known.status.shown(known.service))
}

async fn show(known: Data<Known>) -> HttpResponse {
    answer(&known)
}

async fn begin(known: Data<Known>, bearer: ReqData<Bearer>, body: Bytes) -> HttpResponse {
    let asked = json(&body).and_then(|act: Act| Ok(Act { who: signed(&bearer, &act.who, &act.why)?, ..act }));
    match asked {
        Err(refusal) => refusal.response(),
        Ok(act) if !act.execute => answer(&known),
        Ok(_) if known.status.starts() => Refusal::starting().response(),
        Ok(_) if !known.status.waits() => Refusal::not_lost(&known.status.shown(known.service).state).response(),
        Ok(act) => {
            known.status.want(Wanted { who: act.who, why: act.why });
            answer(&known)
        }
    }
}
