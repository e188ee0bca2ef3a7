//! What a test or an operator does to single parts of a running stack.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::process::Signal;

use crate::error::Error;
use crate::part::{Part, Service};
use crate::ports;
use crate::process::Process;
use crate::stack::{Stack, lock};

impl Stack {
    pub(crate) fn process(&self, part: Part) -> Result<Arc<Process>, Error> {
        lock(&self.processes).get(&part).cloned().ok_or_else(|| Error::NoSuchPart(part.to_string()))
    }

    /// SIGKILL to the part and its children; returns when it is gone.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub async fn kill(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.kill().await;
        Ok(())
    }

    /// SIGSTOP: the part hangs, its connections stay open.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub fn stop(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.pause()
    }

    /// SIGCONT: the part goes on after [`Stack::stop`].
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub fn cont(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.resume()
    }

    /// Asks the part to end as an operator would (SIGTERM) and waits; killed when it takes longer than 15 s.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub async fn terminate(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        let signal = if part == Part::Postgres { Signal::INT } else { Signal::TERM };
        self.process(part)?.stop(signal, Duration::from_secs(15)).await;
        Ok(())
    }

    /// Starts the part again on its old port with its old data, ending it first if it still runs; returns when it is healthy.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`], or as [`Builder::start`].
    pub async fn restart(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        if self.process(part)?.ended().is_none() {
            self.terminate(part).await?;
        }
        self.start_part(part).await?;
        self.write_state(true)
    }

    /// Starts the part again as [`Stack::restart`] does, and does not wait for it: for a service that will not be ready before
    /// somebody has done something. [`Stack::ready`] waits.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`], or it cannot be started.
    pub async fn launch(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        if self.process(part)?.ended().is_none() {
            self.terminate(part).await?;
        }
        self.launch_part(part).await.map(drop)
    }

    /// Waits until the part is healthy.
    ///
    /// # Errors
    /// It ends, or that takes too long.
    pub async fn ready(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        let process = self.process(part)?;
        self.await_ready(part, &process).await
    }

    /// Loses the database of `service`: drops it whoever is connected, and makes an empty one in its place.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn lose_database(&self, service: Service) -> Result<(), Error> {
        self.postgres.drop_database(&self.secrets, service.name()).await?;
        self.postgres.make_databases(&self.secrets).await
    }

    /// Keeps a copy of the database of `service`, to which nobody may be connected.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn save_database(&self, service: Service) -> Result<(), Error> {
        self.postgres.copy_database(&self.secrets, service.name()).await
    }

    /// Puts the copy in the place of the database of `service`, as a restore of a backup would.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn restore_database(&self, service: Service) -> Result<(), Error> {
        self.postgres.restore_database(&self.secrets, service.name()).await?;
        self.postgres.make_databases(&self.secrets).await
    }

    /// Runs `setup` of `service`, as every deployment does; `give_up` gives its database's content up first.
    ///
    /// # Errors
    /// It fails; its log is named.
    pub async fn set_up(&self, service: Service, give_up: bool) -> Result<(), Error> {
        if give_up { self.setup_with(service, &["--rebuild"]).await } else { self.setup(service).await }
    }

    /// Sets up and starts instance 1 of `services`, which the builder had left out: for a caller who must know the running
    /// parts before, such as a proxy between them. A service waits at start for the topics of the others.
    ///
    /// # Errors
    /// As [`Builder::start`](crate::Builder::start).
    pub async fn add_services(&self, services: &[Service]) -> Result<(), Error> {
        try_join_all(services.iter().filter(|service| service.has_database()).map(|service| self.setup(*service))).await?;
        try_join_all(services.iter().map(|service| self.start_part(service.instance(1)))).await?;
        self.write_state(true)
    }

    /// Changes an environment variable of `service` from its next (re)start on.
    pub fn set_env(&self, service: Service, name: impl Into<String>, value: impl Into<String>) {
        lock(&self.options).env_of.entry(service).or_default().insert(name.into(), value.into());
    }

    /// Starts one more instance of `service` and returns its number when it is ready.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn add_instance(&self, service: Service) -> Result<u32, Error> {
        let highest = |part: &Part| match part {
            Part::Service(of, instance) if *of == service => Some(*instance),
            Part::Postgres
            | Part::Kafka
            | Part::Registry
            | Part::Identity
            | Part::Cache
            | Part::Purger
            | Part::Balancer
            | Part::Service(..) => None,
        };
        let instance = lock(&self.processes).keys().filter_map(highest).max().unwrap_or(0) + 1;
        let part = service.instance(instance);
        for kind in ["http", "ops"] {
            lock(&self.ports).insert(format!("{part}-{kind}"), ports::free()?);
        }
        self.start_part(part).await?;
        self.write_state(true)?;
        Ok(instance)
    }
}
