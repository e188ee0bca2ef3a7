//! What a service gives to the runtime.

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use record::Topic;

use crate::config::Config;
use crate::effects::Effects;
use crate::failure::Failure;
use crate::ops::{Admission, Erasures, Sagas};
use crate::registry::Gate;
use crate::replay::{History, Replay};
use crate::route::Routes;
use crate::run::Context;
use crate::unit::{Micros, Needs, Unit, Work};

/// One record type this service writes: `(topic, full name, schema JSON)`.
pub type OwnRecord = (&'static str, &'static str, &'static str);

/// The description of [`record::Record`] type `T` for [`Service::RECORDS`].
#[must_use]
pub const fn own<T: record::Record>() -> OwnRecord {
    (T::TOPIC, T::FULL_NAME, T::SCHEMA)
}

/// A service: its name, the messages it writes and handles, its outside effects, its deadlines and its HTTP face.
pub trait Service: Send + Sync + Sized + 'static {
    /// The service's own rows in a unit.
    type Work: Work;
    /// The outside it calls; [`NoEffects`] when there is none.
    type Effects: Effects<Self::Work>;
    /// What the HTTP handlers share, built once on the main runtime and cloned into every HTTP worker.
    type Http: Clone + Send + 'static;

    /// Name of the service: its consumer group, the owner of its topics, the `src` of its records.
    const NAME: &'static str;
    /// The record types it writes; their schemas are registered at start.
    const RECORDS: &'static [OwnRecord];
    /// Every topic of the system, to know whose `src` a record must carry.
    const TOPICS: &'static [Topic];
    /// Judges our schemas against the registry's versions.
    const GATE: Gate;
    /// Migrations of the service's own tables.
    const MIGRATOR: &'static sqlx::migrate::Migrator;

    /// The route table.
    fn routes(&self) -> Routes<Self::Work>;

    /// Connects to the outside.
    ///
    /// # Errors
    /// The outside cannot be set up.
    fn effects(&self, context: &Context) -> impl Future<Output = anyhow_lite::Result<Self::Effects>> + Send;

    /// Builds what HTTP handlers share: group commits, read bridges.
    ///
    /// # Errors
    /// It cannot be set up.
    fn http(self: Arc<Self>, context: &Context) -> impl Future<Output = anyhow_lite::Result<Self::Http>> + Send;

    /// Registers the HTTP routes.
    fn configure(http: &Self::Http, config: &mut ServiceConfig);

    /// Judges who may operate it: see [`Admission`].
    ///
    /// # Errors
    /// The configuration lets in nobody, or everybody by mistake.
    fn operators(&self, config: &Config) -> anyhow_lite::Result<Admission>;

    /// The sagas it runs, as operators see them; none unless it runs some.
    fn sagas(&self) -> Option<Arc<dyn Sagas>> {
        None
    }

    /// The beginnings of the names of its streams, in the order in which a rebuild folds them: rows of a later kind may need
    /// those of an earlier one.
    const STREAMS: &'static [&'static str];

    /// What must hold in its own tables whatever happened: a name, and a statement that counts what breaks it.
    const CONSERVED: &'static [(&'static str, &'static str)];

    /// Folds one stream from all its events and projects its rows, as the handlers that wrote them did: a rebuilt database
    /// holds what the lost one held.
    ///
    /// # Errors
    /// Permanent: the history is none that this service has written.
    fn replay(&self, history: &History<'_>, replay: &mut Replay<'_, Self::Work>) -> Result<(), Failure>;

    /// Names what [`Service::send_awaited`] needs loaded.
    fn awaited_needs(&self, _stream: &str, _needs: &mut Needs<Self::Work>) {}

    /// Sends the commands whose answers the saga in `stream` awaits, with the ids they always had. The runtime has set the
    /// cause, and keeps those back that are on their topics.
    ///
    /// # Errors
    /// Permanent: a defect.
    fn send_awaited(&self, _unit: &mut Unit<Self::Work>, _stream: &str) -> Result<(), Failure> {
        Ok(())
    }

    /// The keys of people's data, as operators destroy them; none unless it keeps some.
    ///
    /// # Errors
    /// The configuration is not what it should be.
    fn erasures(&self, _config: &Config) -> anyhow_lite::Result<Option<Arc<dyn Erasures>>> {
        Ok(None)
    }

    /// What `setup` makes beside the runtime's part, after it: stores of its own. Running it again changes nothing.
    ///
    /// # Errors
    /// It cannot be made.
    fn set_up(&self, _config: &Config) -> impl Future<Output = anyhow_lite::Result<()>> {
        async { Ok(()) }
    }

    /// The streams in which this service records what it does in the story `correlation`.
    #[must_use]
    fn streams_of(_correlation: &str) -> Vec<String> {
        Vec::new()
    }

    /// Names what deciding a deadline of `saga` needs loaded.
    fn deadline_needs(&self, saga: &str, needs: &mut Needs<Self::Work>);

    /// Decides what it means that a deadline armed for `saga` ran out. The runtime has disarmed it and set the cause. A deadline may
    /// have been put off without arming it anew, which spares a row its change at every step: so what the saga awaits counts,
    /// only what ran out before `before` may be decided (later answers may still be on their way), and the rest is armed again.
    ///
    /// # Errors
    /// A defect: the deadline stays armed and is tried again.
    fn deadline(&self, unit: &mut Unit<Self::Work>, saga: &str, before: Micros) -> Result<(), Failure>;
}

/// Errors of a service's set-up, printed once with their chain where the process ends.
pub mod anyhow_lite {
    /// Any error.
    pub type Error = Box<dyn std::error::Error + Send + Sync>;
    /// A result with any error.
    pub type Result<T> = std::result::Result<T, Error>;
}

/// The outside of a service that calls nobody.
#[derive(Debug, Clone, Copy)]
pub struct NoEffects;

impl<W: Work> Effects<W> for NoEffects {
    type Answer = std::convert::Infallible;
    const STEPS: &'static [&'static str] = &[];

    async fn call(&self, effect: &crate::effects::EffectRow) -> Result<Self::Answer, Failure> {
        Err(Failure::permanent("no_effects", format!("effect {} of {} has nobody to call", effect.step, effect.stream)))
    }

    fn ask(&self, _: &crate::effects::EffectRow, _: &mut Needs<W>) {}

    fn record(&self, _: &mut Unit<W>, _: &crate::effects::EffectRow, answer: &Self::Answer) -> Result<(), Failure> {
        match *answer {}
    }
}
