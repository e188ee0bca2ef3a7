use std::sync::Arc;

use actix_web::web::ServiceConfig;
use kafka::config::Config;
use kafka::ops::Admission;
use kafka::registry::Gate;
use kafka::{Context, Failure, History, Micros, Needs, NoEffects, OwnRecord, Replay, Routes, Service, Unit, anyhow_lite, own};
use schemas::inventory;
use schemas::record::Topic;
use sqlx::migrate::Migrator;

use crate::http::{self, Http};
use crate::replay;
use crate::routes::routes;
use crate::store::{CONSERVED, Rows};
use crate::sweep;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The service as the runtime sees it.
#[derive(Debug, Clone, Copy)]
pub struct Inventory;

impl Service for Inventory {
    type Work = Rows;
    type Effects = NoEffects;
    type Http = Http;

    const NAME: &'static str = schemas::topics::INVENTORY;
    const RECORDS: &'static [OwnRecord] = &[
        own::<inventory::InventoryReserved>(),
        own::<inventory::InventoryRejected>(),
        own::<inventory::InventoryHoldCommitted>(),
        own::<inventory::InventoryHoldReleased>(),
        own::<inventory::ProductListed>(),
        own::<inventory::PriceChanged>(),
        own::<inventory::StockReceived>(),
        own::<inventory::StockAdjusted>(),
        own::<inventory::StepFailed>(),
    ];
    const TOPICS: &'static [Topic] = schemas::topics::TOPICS;
    const GATE: Gate = |subject, ours, versions| Ok(schemas::compat::check(subject, ours, versions)?);
    const MIGRATOR: &'static Migrator = &MIGRATIONS;

    // Products first: what is available of them is what holds leave.
    const STREAMS: &'static [&'static str] = &["sku-", "hold-"];
    const CONSERVED: &'static [(&'static str, &'static str)] = CONSERVED;

    fn routes(&self) -> Routes<Rows> {
        routes()
    }

    async fn effects(&self, _: &Context) -> anyhow_lite::Result<NoEffects> {
        Ok(NoEffects)
    }

    async fn http(self: Arc<Self>, context: &Context) -> anyhow_lite::Result<Http> {
        tokio::spawn(sweep::run(context.units.clone(), context.stop.clone()));
        Http::new(context)
    }

    fn configure(http: &Http, config: &mut ServiceConfig) {
        http::configure(http, config);
    }

    fn replay(&self, history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
        replay::replay(history, replay)
    }

    fn operators(&self, config: &Config) -> anyhow_lite::Result<Admission> {
        Ok(http::door(config)?.operators())
    }

    fn streams_of(story: &str) -> Vec<String> {
        vec![format!("hold-{story}")]
    }

    // Deadlines belong to sagas, and orders run those.
    fn deadline_needs(&self, _: &str, _: &mut Needs<Rows>) {}

    fn deadline(&self, _: &mut Unit<Rows>, saga: &str, _: Micros) -> Result<(), Failure> {
        Err(Failure::permanent("no_deadlines", format!("deadline of {saga}: inventory arms none")))
    }
}
