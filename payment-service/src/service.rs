use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};
use contract::{Code, Problem};
use identity::Door;
use kafka::config::Config;
use kafka::ops::Admission;
use kafka::registry::Gate;
use kafka::seal::Sealer;
use kafka::{Context, Failure, History, Micros, Needs, OwnRecord, Replay, Routes, Service, Unit, anyhow_lite, own};
use schemas::payments;
use schemas::record::Topic;
use sqlx::migrate::Migrator;
use tokio::time::Instant;

use crate::calls::Calls;
use crate::provider::Simulator;
use crate::replay;
use crate::routes::routes;
use crate::store::{Books, CONSERVED};

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

    const STREAMS: &'static [&'static str] = &["payment-"];
    const CONSERVED: &'static [(&'static str, &'static str)] = CONSERVED;

    fn routes(&self) -> Routes<Books> {
        routes()
    }

    async fn effects(&self, context: &Context) -> anyhow_lite::Result<Calls<Simulator>> {
        let sealer = Sealer::new("payments", context.config.secret("token_key")?.expose())?;
        let url = context.config.secret("provider_database_url")?;
        Ok(Calls::new(connect(url.expose()).await?, sealer))
    }

    async fn http(self: Arc<Self>, _: &Context) -> anyhow_lite::Result<()> {
        Ok(())
    }

    // Nothing is asked of payments over HTTP.
    fn configure((): &(), config: &mut ServiceConfig) {
        config.default_service(web::to(not_found));
    }

    fn replay(&self, history: &History<'_>, replay: &mut Replay<'_, Books>) -> Result<(), Failure> {
        replay::replay(history, replay)
    }

    fn operators(&self, config: &Config) -> anyhow_lite::Result<Admission> {
        let trusts = config.text("trust_customer_header")? == "true";
        Ok(Door::new(config.optional("oidc_issuer"), config.optional("oidc_audience"), trusts)?.operators())
    }

    fn streams_of(story: &str) -> Vec<String> {
        vec![format!("payment-{story}")]
    }

    // Deadlines belong to sagas, and orders run those.
    fn deadline_needs(&self, _: &str, _: &mut Needs<Books>) {}

    fn deadline(&self, _: &mut Unit<Books>, saga: &str, _: Micros) -> Result<(), Failure> {
        Err(Failure::permanent("no_deadlines", format!("deadline of {saga}: payments arms none")))
    }
}

/// The provider may start after us: it is waited for, 60 s at most.
async fn connect(url: &str) -> Result<Simulator, sqlx::Error> {
    let give_up_at = Instant::now() + Duration::from_secs(60);
    loop {
        match Simulator::connect(url).await {
            Err(error) if Instant::now() < give_up_at && kafka::retry_of(&error) == kafka::Retry::Same => {
                tracing::info!(error = %error, "waiting for the payment provider's database");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn not_found(request: HttpRequest) -> Problem {
    Problem::new(Code::NotFound).with_instance(request.path())
}
