//! The real parts, fetched once per user by Maven from pinned poms.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::builder::Provider;
use crate::error::{Doing, Error, not_run};
use crate::settings;

const POM: &str = include_str!("../kafka/pom.xml");
const IDENTITY_POM: &str = include_str!("../identity/pom.xml");
const KEYCLOAK_POM: &str = include_str!("../identity/keycloak/pom.xml");

/// Folders of the fetched parts.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Kafka's jars.
    pub(crate) kafka: PathBuf,
    /// The registry's runner jar and its `lib`.
    pub(crate) registry: PathBuf,
    /// PostgreSQL's `bin`, `lib` and `share`.
    pub(crate) postgres: PathBuf,
}

/// Brings Kafka, the registry, PostgreSQL and the identity provider of tests into the cache unless they are there; about 155 MB. Every
/// start does this too, for what it needs.
///
/// # Errors
/// [`Error::Missing`] without Maven, `tar` or `xz`; [`Error::Fetch`] with Maven's last lines when the download fails.
pub async fn fetch_into_cache() -> Result<(), Error> {
    let fetching = || Ok::<_, Error>((fetch()?, fetch_identity(Provider::Mock)?));
    let (parts, _) =
        tokio::task::spawn_blocking(fetching).await.map_err(std::io::Error::other).doing(|| "fetch the real parts".to_owned())??;
    crate::archive::make(&parts).await
}

/// The fetched parts; the first call on a machine downloads about 125 MB, later ones only look.
///
/// # Errors
/// [`Error::Missing`] without Maven, `tar` or `xz`; [`Error::Fetch`] with Maven's last lines when the download fails.
pub(crate) fn fetch() -> Result<Parts, Error> {
    let what = "Kafka, the schema registry and PostgreSQL";
    let folder = fetch_once("parts", POM, what, |fetched| unpack_postgres(&fetched.join("postgres")))?;
    Ok(Parts { kafka: folder.join("kafka"), registry: folder.join("registry"), postgres: folder.join("postgres") })
}

/// The folder of an identity provider: 29 MB of jars for the mock, a distribution of 180 MB for Keycloak.
///
/// # Errors
/// As [`fetch`].
pub(crate) fn fetch_identity(provider: Provider) -> Result<PathBuf, Error> {
    match provider {
        Provider::Mock => Ok(fetch_once("identity", IDENTITY_POM, "the identity provider of tests", |_| Ok(()))?.join("mock")),
        Provider::Keycloak => Ok(fetch_once("keycloak", KEYCLOAK_POM, "Keycloak", |_| Ok(()))?.join("keycloak")),
    }
}

/// What `pom` brings, in a folder of the cache that is named after it.
///
/// Callers in several processes are serialised by a lock file; a half-done download is never seen, because the folder is renamed into place.
fn fetch_once(name: &str, pom: &str, what: &str, finish: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let cache = settings::cache_folder();
    let folder = cache.join(format!("{name}-{:016x}", fingerprint(pom)));
    if folder.is_dir() {
        return Ok(folder);
    }
    let _lock = lock()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    tracing::info!(folder = %folder.display(), "fetching {what} with Maven, once");
    let scratch = cache.join("fetching");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).doing(|| format!("clear {}", scratch.display()))?;
    }
    let project = scratch.join("project");
    let fetched = scratch.join("parts");
    fs::create_dir_all(&project).doing(|| format!("make the folder {}", project.display()))?;
    let path = project.join("pom.xml");
    fs::write(&path, pom).doing(|| format!("write {}", path.display()))?;
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(&path).arg(format!("-Dparts.folder={}", fetched.display()));
    maven.arg(format!("-Dpostgres.platform={}", platform())).arg("package");
    run(maven, "Maven (apt-get install maven)")?;
    finish(&fetched)?;
    fs::rename(&fetched, &folder).doing(|| format!("move the parts to {}", folder.display()))?;
    fs::remove_dir_all(&scratch).doing(|| format!("clear {}", scratch.display()))?;
    Ok(folder)
}

/// Keeps other processes from changing the cache until the file is closed; blocks while another does.
pub(crate) fn lock() -> Result<File, Error> {
    let cache = settings::cache_folder();
    fs::create_dir_all(&cache).doing(|| format!("make the folder {}", cache.display()))?;
    let path = cache.join("lock");
    let file = File::create(&path).doing(|| format!("open {}", path.display()))?;
    file.lock().doing(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// The binaries come as one xz archive inside the jar that Maven has unpacked.
fn unpack_postgres(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).doing(|| format!("list {}", folder.display()))?;
    let archive = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "txz"))
        .ok_or_else(|| Error::Fetch(format!("no .txz archive in {}", folder.display())))?;
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(&archive).arg("-C").arg(folder);
    run(tar, "tar with xz (apt-get install tar xz-utils)")?;
    fs::remove_file(&archive).doing(|| format!("remove {}", archive.display()))
}

fn run(mut command: Command, remedy: &str) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|source| not_run(&program, format!("install {remedy}"), source))?;
    if output.status.success() {
        return Ok(());
    }
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(Error::Fetch(format!("{program} ended with {}:\n{}", output.status, crate::process::last_lines(&text, 20))))
}

fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-arm64v8" } else { "linux-amd64" }
}

/// FNV-1a: names the folder after the pom's content, so that a changed version is fetched anew.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
