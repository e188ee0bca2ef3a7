//! Class archives of the two Java parts: loaded and verified classes in one mapped file, which takes half of the processor time out of a start.
//!
//! A JVM writes such a file at its end, with the classes it has used. So each part is started once, used, and asked to end; later starts map the
//! file. Without it, or under another Java than the one that wrote it, a part starts all the same, only slower.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{Doing, Error};
use crate::kafka::Broker;
use crate::parts::{self, Parts};
use crate::ports;
use crate::process::{Process, Program};
use crate::registry::Registry;
use crate::secrets::{Secrets, random_hex};
use crate::settings;
use crate::watchdog::Watchdog;

const READY_WITHIN: Duration = Duration::from_secs(120);
const END_WITHIN: Duration = Duration::from_secs(60);

/// The JVM option that maps the archive of a part, if there is one.
pub(crate) fn option(part_folder: &Path) -> Option<String> {
    let archive = path(part_folder);
    archive.exists().then(|| format!("-XX:SharedArchiveFile={}", archive.display()))
}

fn path(part_folder: &Path) -> PathBuf {
    part_folder.with_extension("jsa")
}

/// Makes the archives unless that was tried before; takes about 15 s, once per user. A failure is reported in the log and costs only time later.
///
/// # Errors
/// [`Error::Io`] when the cache folder cannot be written.
pub(crate) async fn make(parts: &Parts) -> Result<(), Error> {
    let tried = parts.kafka.with_extension("archived");
    if tried.exists() {
        return Ok(());
    }
    let _lock = tokio::task::spawn_blocking(parts::lock).await.map_err(std::io::Error::other).doing(|| "lock the cache".to_owned())??;
    if tried.exists() {
        return Ok(()); // made by whoever held the lock
    }
    tracing::info!("preparing Kafka and the schema registry for faster starts, once");
    let folder = settings::temporary_folder().join(format!("saga-stack-archive-{}", random_hex(4)?));
    let watchdog = Arc::new(Watchdog::start(std::slice::from_ref(&folder))?);
    let (kafka, registry) = tokio::join!(kafka(parts, &folder, &watchdog), registry(parts, &folder, &watchdog));
    for result in [kafka, registry] {
        if let Err(error) = result {
            tracing::warn!(%error, "a class archive could not be made; starts stay slower");
        }
    }
    fs::write(&tried, "").doing(|| format!("write {}", tried.display()))
}

async fn kafka(parts: &Parts, folder: &Path, watchdog: &Arc<Watchdog>) -> Result<(), Error> {
    let (port, controller) = (ports::free()?, ports::free()?);
    let home = folder.join("kafka");
    let broker = Broker {
        port: port.number,
        controller_port: controller.number,
        proxied: None,
        principals: None,
        heap_mb: 256,
        more: Vec::new(),
        folder: home.clone(),
        jars: parts.kafka.clone(),
    };
    fs::create_dir_all(&home).doing(|| format!("make the folder {}", home.display()))?;
    let secrets = Secrets::of(&home)?;
    let prepared = broker.clone();
    tokio::task::spawn_blocking(move || prepared.initialise(&secrets))
        .await
        .map_err(std::io::Error::other)
        .doing(|| "format Kafka".to_owned())??;
    train("kafka", broker.program(), &parts.kafka, &home.join("log"), watchdog, || broker.check()).await
}

async fn registry(parts: &Parts, folder: &Path, watchdog: &Arc<Watchdog>) -> Result<(), Error> {
    let port = ports::free()?;
    let registry = Registry { port: port.number, folder: folder.join("registry"), distribution: parts.registry.clone() };
    registry.initialise()?;
    let log = registry.folder.join("log");
    train("registry", registry.program()?, &parts.registry, &log, watchdog, || registry.check()).await
}

async fn train<F: Future<Output = Result<(), String>>>(
    name: &str,
    mut program: Program,
    part_folder: &Path,
    log: &Path,
    watchdog: &Arc<Watchdog>,
    check: impl Fn() -> F,
) -> Result<(), Error> {
    let scratch = part_folder.with_extension("jsa.new");
    program.command.insert(1, format!("-XX:ArchiveClassesAtExit={}", scratch.display()));
    let process = Process::start(name, &program, log, watchdog)?;
    let began = Instant::now();
    while let Err(reason) = check().await {
        if let Some(status) = process.ended() {
            return Err(process.ended_early(status));
        }
        if began.elapsed() > READY_WITHIN {
            let tail = crate::process::tail(log);
            return Err(Error::NotReady { part: name.to_owned(), reason, waited: began.elapsed(), log: log.to_owned(), tail });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.stop(Signal::TERM, END_WITHIN).await;
    fs::rename(&scratch, path(part_folder)).doing(|| format!("move the class archive of {name} into place"))
}
