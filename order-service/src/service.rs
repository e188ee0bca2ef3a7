//! What order-service gives to the runtime.

use std::sync::{Arc, OnceLock};

use actix_web::web::ServiceConfig;
use identity::Door;
use kafka::config::Config;
use kafka::ops::{Admission, Erasures, Sagas};
use kafka::registry::Gate;
use kafka::seal::Sealer;
use kafka::{Context, Failure, History, Micros, Needs, NoEffects, OwnRecord, Replay, Routes, Service, Unit, anyhow_lite, own};
use saga::{Definition, Invalid};
use schemas::record::Topic;
use schemas::{inventory, orders, payments, topics};

use crate::follow::Follow;
use crate::http::{self, Face};
use crate::open_orders::OpenOrders;
use crate::place::Writer;
use crate::routes;
use crate::steer::{OrderSaga, order_of, replay_order};
use crate::store::{self, Rows};
use crate::vault::{self, Vault};
use crate::{gauges, sweep};

/// Names the key that seals payment tokens, until keys are rotated.
const TOKEN_KEY_ID: &str = "1";

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// order-service.
#[derive(Debug)]
pub struct Orders {
    definition: Definition,
    saga: OnceLock<OrderSaga>,
}

impl Orders {
    /// The service, with the deadlines of the definition until the configuration is known.
    ///
    /// # Errors
    /// The saga's definition is no saga: a defect.
    pub fn new() -> Result<Self, Invalid> {
        Ok(Self { definition: order_domain::order_saga()?, saga: OnceLock::new() })
    }

    fn saga(&self) -> &OrderSaga {
        self.saga.get_or_init(|| OrderSaga::new(self.definition.clone()))
    }
}

fn door(config: &Config) -> anyhow_lite::Result<Door> {
    let trusts_header = config.text("trust_customer_header")? == "true";
    Ok(Door::new(config.optional("oidc_issuer"), config.optional("oidc_audience"), trusts_header)?)
}

fn gate(subject: &str, ours: &str, theirs: &[(u32, String)]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(schemas::compat::check(subject, ours, theirs)?)
}

impl Service for Orders {
    type Work = Rows;
    type Effects = NoEffects;
    type Http = Face;

    const NAME: &'static str = topics::ORDERS;
    const RECORDS: &'static [OwnRecord] = &[
        own::<orders::OrderPlaced>(),
        own::<orders::OrderConfirmed>(),
        own::<orders::OrderCancelled>(),
        own::<orders::SagaStarted>(),
        own::<orders::SagaStepRecorded>(),
        own::<orders::SagaEnded>(),
        own::<inventory::CreateInventoryHold>(),
        own::<inventory::CommitInventoryHold>(),
        own::<inventory::ReleaseInventoryHold>(),
        own::<payments::CapturePayment>(),
        own::<payments::VoidPayment>(),
        own::<payments::RefundPayment>(),
    ];
    const TOPICS: &'static [Topic] = topics::TOPICS;
    const GATE: Gate = gate;
    const MIGRATOR: &'static sqlx::migrate::Migrator = &MIGRATOR;
    // Orders first: the end of a saga is shown in its order's row.
    const STREAMS: &'static [&'static str] = &["order-", "saga-"];
    const CONSERVED: &'static [(&'static str, &'static str)] = store::CONSERVED;

    fn routes(&self) -> Routes<Rows> {
        routes::routes(self.saga())
    }

    /// The first hook that sees the configuration; the runtime calls it before anything decides.
    async fn effects(&self, context: &Context) -> anyhow_lite::Result<NoEffects> {
        let definition = self.definition.clone().with_deadline(context.config.millis("step_deadline_ms")?)?;
        self.saga.set(OrderSaga::new(definition)).map_err(|_set| "the saga was used before it was configured")?;
        Ok(NoEffects)
    }

    async fn http(self: Arc<Self>, context: &Context) -> anyhow_lite::Result<Face> {
        let sealer = Sealer::new(TOKEN_KEY_ID, context.config.secret("token_key")?.expose())?;
        let writer = Writer { units: context.units.clone(), saga: self.saga().clone() };
        let config = &context.config;
        tokio::spawn(sweep::run(context.units.clone(), context.stop.clone()));
        tokio::spawn(gauges::run(context.units.clone(), context.stop.clone()));
        Ok(Face {
            door: door(config)?,
            follow: Follow::spawn(context.units.clone()),
            open_orders: OpenOrders::new(config.number("open_orders_max")?),
            units: context.units.clone(),
            bridge: context.bridge.clone(),
            placements: writer.spawn(),
            saga: self.saga().clone(),
            published: context.published.clone(),
            sealer: Arc::new(sealer),
            vault: Vault::read(config)?,
        })
    }

    fn configure(http: &Face, config: &mut ServiceConfig) {
        http::configure(http, config);
    }

    fn operators(&self, config: &Config) -> anyhow_lite::Result<Admission> {
        Ok(door(config)?.operators())
    }

    fn erasures(&self, config: &Config) -> anyhow_lite::Result<Option<Arc<dyn Erasures>>> {
        Ok(Vault::read(config)?.map(|vault| Arc::new(vault) as Arc<dyn Erasures>))
    }

    async fn set_up(&self, config: &Config) -> anyhow_lite::Result<()> {
        vault::set_up(config).await
    }

    fn sagas(&self) -> Option<Arc<dyn Sagas>> {
        Some(Arc::new(self.saga().clone()))
    }

    fn replay(&self, history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
        if order_of(history.stream()).is_some() { self.saga().replay(history, replay) } else { replay_order(history, replay) }
    }

    fn awaited_needs(&self, stream: &str, needs: &mut Needs<Rows>) {
        if let Some(id) = order_of(stream) {
            OrderSaga::awaited_needs(id, needs);
        }
    }

    fn send_awaited(&self, unit: &mut Unit<Rows>, stream: &str) -> Result<(), Failure> {
        let id = order_of(stream).ok_or_else(|| Failure::permanent("saga_defect", format!("{stream} is not the saga of an order")))?;
        self.saga().send_awaited(unit, id)
    }

    fn streams_of(story: &str) -> Vec<String> {
        vec![format!("order-{story}"), format!("saga-{story}")]
    }

    fn deadline_needs(&self, saga: &str, needs: &mut Needs<Rows>) {
        if let Some(id) = order_of(saga) {
            OrderSaga::needs(id, needs);
        }
    }

    fn deadline(&self, unit: &mut Unit<Rows>, saga: &str, before: Micros) -> Result<(), Failure> {
        let id = order_of(saga).ok_or_else(|| Failure::permanent("saga_defect", format!("{saga} is not the saga of an order")))?;
        self.saga().deadline(unit, id, before)
    }
}
