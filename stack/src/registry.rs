//! The schema registry: Apicurio with its data in one H2 file.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use crate::error::{Doing, Error};
use crate::process::Program;
use crate::settings;

/// The client of all health checks. Made once: loading the machine's certificates takes longer than a check. It keeps no connection, because
/// the async runtime of one test ends before the next test's begins.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().pool_max_idle_per_host(0).build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

#[derive(Debug, Clone)]
pub(crate) struct Registry {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    pub(crate) distribution: PathBuf,
}

impl Registry {
    /// The base of its Confluent-compatible interface.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    pub(crate) fn initialise(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).doing(|| format!("make the folder {}", self.folder.display()))
    }

    /// # Errors
    /// [`Error::Fetch`] when the distribution has no runner.
    pub(crate) fn program(&self) -> Result<Program, Error> {
        let entries = fs::read_dir(&self.distribution).doing(|| format!("list {}", self.distribution.display()))?;
        let runner = entries.filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("-runner.jar"));
        let runner = runner.ok_or_else(|| Error::Fetch(format!("no runner jar in {}", self.distribution.display())))?;
        // C1 and the serial collector halve its start, and it has nothing to do after our processes' own
        let arguments = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"];
        let mut command = vec![settings::java()];
        command.extend(crate::archive::option(&self.distribution));
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        command.push(runner.to_string_lossy().into_owned());
        // without WRITE_DELAY=0 a kill loses the schemas of the last half second, and ids are handed out again
        let database = format!("jdbc:h2:file:{};WRITE_DELAY=0", self.folder.join("registry").display());
        let env = [
            ("QUARKUS_HTTP_HOST", "127.0.0.1".to_owned()),
            ("QUARKUS_HTTP_PORT", self.port.to_string()),
            ("QUARKUS_DATASOURCE_JDBC_URL", database),
            ("QUARKUS_BANNER_ENABLED", "false".to_owned()),
            ("LOG_LEVEL", "WARN".to_owned()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Program { command, env, folder: self.folder.clone(), user: None, end_by_quit: false })
    }

    /// Whether a schema can be registered and read back; the reason when not. The schema is removed again.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let check = async {
            let client = client()?;
            let schema = r#"{"type":"record","name":"Health","namespace":"stack","doc":"Written by the start of the stack.","fields":[]}"#;
            let subject = format!("{}/subjects/stack.health", self.url());
            let made: serde_json::Value = client
                .post(format!("{subject}/versions"))
                .json(&json!({ "schema": schema }))
                .send()
                .await?
                .error_for_status()?
                .json()
                .await?;
            let id = made.get("id").map(ToString::to_string).unwrap_or_default();
            client.get(format!("{}/schemas/ids/{id}", self.url())).send().await?.error_for_status()?;
            client.delete(&subject).send().await?.error_for_status()?;
            client.delete(format!("{subject}?permanent=true")).send().await?;
            Ok::<(), reqwest::Error>(())
        };
        check.await.map_err(|error| error.to_string())
    }
}
