//! What runs of one command share: options, seed, and the stage.

use std::path::PathBuf;
use std::time::Instant;

use super::outbox::Infra;
use super::{Dice, Fault, Stage};

/// How the faults are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where chance starts.
    pub seed: u64,
    /// Orders placed under a fault, instead of its own number.
    pub orders: Option<usize>,
    /// Full sizes instead of CI's.
    pub long: bool,
    /// A defence of the runtime that is switched off (`kafka::harm::Sabotage`): the run must turn out broken.
    pub sabotage: Option<String>,
    /// A folder with `products.csv.gz` and `baskets*.csv.gz`; otherwise the slice in `bench/data`.
    pub data: Option<PathBuf>,
}

/// The state between faults.
#[derive(Debug)]
pub struct Session {
    options: Options,
    stage: Option<Stage>,
    infra: Option<Infra>,
    began: Instant,
    fault: &'static str,
}

impl Session {
    /// A session without a stage yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, stage: None, infra: None, began: Instant::now(), fault: "" }
    }

    pub(super) fn begin(&mut self, fault: &Fault) {
        self.began = Instant::now();
        self.fault = fault.name;
    }

    /// The seed of the whole run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Numbers for the present fault: the same for one seed, whichever faults ran before.
    #[must_use]
    pub fn dice(&self) -> Dice {
        let name = self.fault.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
        Dice::new(self.options.seed ^ name)
    }

    /// `short` in CI, `long` at full size.
    #[must_use]
    pub fn size<T>(&self, short: T, long: T) -> T {
        if self.options.long { long } else { short }
    }

    /// How many orders to place: as told, else `short` in CI and `long` at full size.
    #[must_use]
    pub fn orders(&self, short: usize, long: usize) -> usize {
        self.options.orders.unwrap_or_else(|| self.size(short, long))
    }

    /// Seconds since the present fault began.
    #[must_use]
    pub fn took(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// The whole system, started by the first fault that asks for it and shared with those that follow.
    ///
    /// # Errors
    /// It does not start.
    pub async fn stage(&mut self) -> anyhow::Result<&mut Stage> {
        if self.stage.as_ref().is_some_and(|stage| stage.polluted) {
            self.spoil().await;
        }
        self.stage_as_it_is().await
    }

    /// The same, however the fault before has left it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn stage_as_it_is(&mut self) -> anyhow::Result<&mut Stage> {
        if self.stage.is_none() {
            self.stage = Some(Stage::start(&self.options).await?);
        }
        self.stage.as_mut().ok_or_else(|| anyhow::anyhow!("no stage"))
    }

    /// PostgreSQL and a broker for relays alone, started by the first fault that asks for them and shared.
    ///
    /// # Errors
    /// They do not start.
    pub async fn infra(&mut self) -> anyhow::Result<&Infra> {
        if self.infra.is_none() {
            self.infra = Some(Infra::start(&[]).await?);
        }
        self.infra.as_ref().ok_or_else(|| anyhow::anyhow!("no parts"))
    }

    /// Switches a defence off, or all on again, for what starts from now on.
    pub async fn sabotage(&mut self, name: Option<&str>) {
        self.spoil().await;
        self.options.sabotage = name.map(str::to_owned);
    }

    /// Ends the shared stage: the next fault starts another. For a fault that leaves behind what the checker would blame.
    pub async fn spoil(&mut self) {
        if let Some(stage) = self.stage.take() {
            stage.end().await;
        }
    }
}
