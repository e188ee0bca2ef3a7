use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};
use contract::{Code, Problem};
use kafka::registry::Gate;
use kafka::seal::Sealer;
use kafka::{Context, Failure, Needs, OwnRecord, Routes, Service, Unit, anyhow_lite, own};
use schemas::payments;
use schemas::record::Topic;
use sqlx::migrate::Migrator;

use crate::calls::Calls;
use crate::provider::Simulator;
use crate::routes::routes;
use crate::store::Books;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The service as the runtime sees it.
#[derive(Debug, Clone, Copy)]
pub struct Payments;

impl Service for Payments {
    type Work = Books;
    type Effects = Calls<Simulator>;
    type Http = ();

    const NAME: &'static str = schemas::topics::PAYMENTS;
    const RECORDS: &'static [OwnRecord] = &[
        own::<payments::PaymentAuthorized>(),
        own::<payments::PaymentCaptured>(),
        own::<payments::PaymentDeclined>(),
        own::<payments::PaymentVoided>(),
        own::<payments::PaymentRefunded>(),
        own::<payments::StepFailed>(),
    ];
    const TOPICS: &'static [Topic] = schemas::topics::TOPICS;
    const GATE: Gate = |subject, ours, versions| Ok(schemas::compat::check(subject, ours, versions)?);
    const MIGRATOR: &'static Migrator = &MIGRATIONS;

    fn routes(&self) -> Routes<Books> {
        routes()
    }

    async fn effects(&self, context: &Context) -> anyhow_lite::Result<Calls<Simulator>> {
        let sealer = Sealer::new("payments", context.config.secret("token_key")?.expose())?;
        let provider = Simulator::connect(context.config.secret("provider_database_url")?.expose()).await?;
        Ok(Calls::new(provider, sealer))
    }

    async fn http(self: Arc<Self>, _: &Context) -> anyhow_lite::Result<()> {
        Ok(())
    }

    // Nothing is asked of payments over HTTP.
    fn configure((): &(), config: &mut ServiceConfig) {
        config.default_service(web::to(not_found));
    }

    // Deadlines belong to sagas, and orders run those.
    fn deadline_needs(&self, _: &str, _: &mut Needs<Books>) {}

    fn deadline(&self, _: &mut Unit<Books>, saga: &str, step: &str) -> Result<(), Failure> {
        Err(Failure::permanent("no_deadlines", format!("deadline of {saga} at {step}: payments arms none")))
    }
}

async fn not_found(request: HttpRequest) -> Problem {
    Problem::new(Code::NotFound).with_instance(request.path())
}
