use std::collections::BTreeMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use contract::{Code, Fault, Json, Pointer, Problem, Received, StockReceipts, headers};
use inventory_domain::Units;
use inventory_domain::product::{Command, Rejection};
use kafka::{Failure, Needs, Unit};
use values::Sku;

use super::{Http, answer, refused, request};
use crate::handlers::products::{decide, sku_stream};
use crate::store::Rows;
use crate::wire;

/// `POST /v1/stock`: receives units, all of the receipts or none.
pub(super) async fn receive(
    http: Data<Http>,
    http_request: HttpRequest,
    body: Result<Json<StockReceipts>, Problem>,
) -> Result<HttpResponse, Problem> {
    let instance = |problem: Problem| problem.with_instance(http_request.path());
    let user = http.admit(&http_request).await.map_err(instance)?;
    let key = headers::idempotency_key(http_request.headers()).map_err(instance)?;
    let Json(body) = body?;
    let identity = request::identify(user.as_ref(), "POST /v1/stock", &key, &body, trace::web::of(&http_request));
    // In SKU order, as every writer takes streams and SKU rows; the position in the body is kept for pointers.
    let receipts: BTreeMap<Sku, (usize, Units)> = body
        .receipts
        .into_iter()
        .enumerate()
        .map(|(index, receipt)| (receipt.sku, (index, Units::try_from(i64::from(receipt.units)).unwrap_or(Units::MAX))))
        .collect();
    let units = http.units.clone();
    let work = async move {
        let needs = || {
            let mut needs = Needs::<Rows>::default();
            for sku in receipts.keys() {
                needs.stream(sku_stream(sku));
                needs.work.skus.insert(sku.to_string());
            }
            needs
        };
        let source = wire::request(&identity);
        request::once(&units, &identity, needs, |unit| receive_all(unit, &receipts, &source)).await
    };
    answer(http.bridge.run(work).await.map_err(refused).map_err(instance)?, HttpResponse::Ok()).map_err(instance)
}

fn receive_all(
    unit: &mut Unit<Rows>,
    receipts: &BTreeMap<Sku, (usize, Units)>,
    source: &schemas::inventory::Idempotency,
) -> Result<Result<Received, Problem>, Failure> {
    let mut faults: BTreeMap<usize, Fault> = BTreeMap::new();
    for (sku, (index, units)) in receipts {
        if let Err(rejection) = decide(unit, sku, &Command::Receive { units: *units }, Some(source))? {
            faults.insert(*index, fault(*index, rejection));
        }
    }
    if faults.is_empty() {
        Ok(Ok(Received { received: u64::try_from(receipts.len()).unwrap_or(u64::MAX) }))
    } else {
        Ok(Err(Problem::of_faults(faults.into_values().take(FAULTS_MAX).collect())))
    }
}

/// Most faults that are answered for one body, as for faults that the body itself shows.
const FAULTS_MAX: usize = 20;

fn fault(index: usize, rejection: Rejection) -> Fault {
    let (field, code) = match rejection {
        Rejection::Unlisted => ("sku", Code::UnknownSku),
        Rejection::Overflow | Rejection::NoUnits | Rejection::Short { .. } | Rejection::NegativePrice => ("units", Code::StockOutOfRange),
    };
    Fault::new(Pointer::root().entry(index).member(field), code, rejection.to_string())
}
