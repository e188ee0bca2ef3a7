//! The one place where this crate reads the environment.

use std::path::PathBuf;

use crate::error::{Doing, Error};

/// Whether this process is root, which PostgreSQL refuses to run as.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Where the fetched parts are kept: `STACK_CACHE_DIR`, else `/var/cache/saga-stack` for root (PostgreSQL runs as another user, who may not enter
/// root's home), else `XDG_CACHE_HOME` or `~/.cache`.
pub(crate) fn cache_folder() -> PathBuf {
    if let Some(folder) = variable("STACK_CACHE_DIR") {
        return PathBuf::from(folder);
    }
    if is_root() {
        return PathBuf::from("/var/cache/saga-stack");
    }
    let base = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("saga-stack")
}

/// Where our binaries are: `STACK_BIN_DIR`, else the folder of the running executable's build profile.
pub(crate) fn binary_folder() -> Result<PathBuf, Error> {
    if let Some(folder) = variable("STACK_BIN_DIR") {
        return Ok(PathBuf::from(folder));
    }
    let executable = std::env::current_exe().doing(|| "find the running executable".to_owned())?;
    let mut folder = executable.parent().map(PathBuf::from).unwrap_or_default();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    Ok(folder)
}

/// The user PostgreSQL runs as when we are root: `STACK_POSTGRES_USER`, else `nobody`.
pub(crate) fn postgres_user() -> String {
    variable("STACK_POSTGRES_USER").unwrap_or_else(|| "nobody".to_owned())
}

/// Whether a collector of traces is named in the environment, which our programs inherit.
pub(crate) fn has_collector() -> bool {
    variable("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
}

/// Where tests' run folders are made: `STACK_TEMP_DIR`, else the system's temporary folder.
pub(crate) fn temporary_folder() -> PathBuf {
    variable("STACK_TEMP_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Whether the run folders of tests are kept: `STACK_KEEP=1`.
pub(crate) fn keep_folders() -> bool {
    variable("STACK_KEEP").is_some_and(|value| value != "0")
}

/// The built storefront for the gateway to serve: `STACK_WEB_DIR`; none where it is not set.
pub(crate) fn web_folder() -> Option<String> {
    variable("STACK_WEB_DIR")
}

/// The Java to run: `JAVA_HOME/bin/java`, else `java` from the path.
pub(crate) fn java() -> String {
    variable("JAVA_HOME").map_or_else(|| "java".to_owned(), |home| format!("{home}/bin/java"))
}

/// Where programs are looked for; Keycloak's start script looks for several.
pub(crate) fn search_path() -> Option<String> {
    variable("PATH")
}
