//! The identity provider: mock-oauth2-server for development and tests, Keycloak with our realm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::builder::Provider;
use crate::error::{Doing, Error};
use crate::process::Program;
use crate::settings;

/// What tokens for our API are for: `aud`.
pub(crate) const AUDIENCE: &str = "orders-api";
/// The page of the mock where one signs in as a customer or as the operator.
const LOGIN_PAGE: &str = include_str!("../identity/login.html");
/// The realm's client for command lines.
const CLIENT: &str = "orders-cli";
/// Our realm, the very file that compose mounts.
const REALM: &str = include_str!("../identity/keycloak/realm.json");
/// The two users of the realm, each with its password: development only, and in the realm file for everybody to read.
const DEMO_PASSWORD: &str = "demo";

#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) provider: Provider,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    /// Jars, or Keycloak's distribution; none where there is no provider.
    pub(crate) distribution: Option<PathBuf>,
}

/// A request for a token did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The provider does not answer, or refuses.
    #[error("ask the identity provider for a token")]
    Asked(#[from] reqwest::Error),
    /// Its answer has no token.
    #[error("the identity provider's answer has no token")]
    NoToken,
}

impl Identity {
    /// The provider as it stands in `iss`.
    pub(crate) fn issuer(&self) -> String {
        match self.provider {
            Provider::Mock => format!("http://127.0.0.1:{}/default", self.port),
            Provider::Keycloak => format!("http://127.0.0.1:{}/realms/orders", self.port),
        }
    }

    /// Where tokens are had.
    pub(crate) fn token_url(&self) -> String {
        match self.provider {
            Provider::Mock => format!("{}/token", self.issuer()),
            Provider::Keycloak => format!("{}/protocol/openid-connect/token", self.issuer()),
        }
    }

    /// Files it needs before it starts.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn initialise(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).doing(|| format!("make the folder {}", self.folder.display()))?;
        match self.provider {
            Provider::Mock => {
                let page = self.folder.join("login.html");
                fs::write(&page, LOGIN_PAGE).doing(|| format!("write {}", page.display()))?;
                let path = self.folder.join("config.json");
                fs::write(&path, mock_config(&page).to_string()).doing(|| format!("write {}", path.display()))
            }
            Provider::Keycloak => self.initialise_keycloak(),
        }
    }

    /// Keycloak writes into its own folder: each stack has a copy of what it changes, and links to the rest.
    fn initialise_keycloak(&self) -> Result<(), Error> {
        let import = self.folder.join("data/import");
        fs::create_dir_all(&import).doing(|| format!("make the folder {}", import.display()))?;
        let realm = import.join("orders-realm.json");
        fs::write(&realm, REALM).doing(|| format!("write {}", realm.display()))?;
        let home = self.folder.join("lib");
        if home.exists() {
            return Ok(());
        }
        let distribution = self.distribution.clone().unwrap_or_default();
        let mut copy = Command::new("cp");
        copy.arg("--recursive").args(["bin", "lib", "conf", "providers", "themes"].map(|name| distribution.join(name))).arg(&self.folder);
        let output = copy.output().doing(|| "copy Keycloak".to_owned())?;
        if output.status.success() { Ok(()) } else { Err(Error::Fetch(String::from_utf8_lossy(&output.stderr).into_owned())) }
    }

    pub(crate) fn program(&self) -> Program {
        let distribution = self.distribution.clone().unwrap_or_default();
        let (command, env): (Vec<String>, Vec<(&str, String)>) = match self.provider {
            Provider::Mock => (
                vec![
                    settings::java(),
                    "-Xmx64m".to_owned(),
                    "-XX:TieredStopAtLevel=1".to_owned(),
                    "-XX:+UseSerialGC".to_owned(),
                    "-cp".to_owned(),
                    format!("{}/*", distribution.display()),
                    "no.nav.security.mock.oauth2.StandaloneMockOAuth2ServerKt".to_owned(),
                ],
                vec![
                    ("SERVER_HOSTNAME", "127.0.0.1".to_owned()),
                    ("SERVER_PORT", self.port.to_string()),
                    ("JSON_CONFIG_PATH", self.folder.join("config.json").display().to_string()),
                ],
            ),
            Provider::Keycloak => (
                vec![
                    "bash".to_owned(),
                    self.folder.join("bin/kc.sh").display().to_string(),
                    "start-dev".to_owned(),
                    "--import-realm".to_owned(),
                    "--http-host=127.0.0.1".to_owned(),
                    format!("--http-port={}", self.port),
                    format!("--hostname=http://127.0.0.1:{}", self.port),
                ],
                vec![
                    ("JAVA_OPTS", "-Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true".to_owned()),
                    ("KC_HEALTH_ENABLED", "false".to_owned()),
                ],
            ),
        };
        let mut env: Vec<(String, String)> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if self.provider == Provider::Keycloak
            && let Some(path) = settings::search_path()
        {
            env.push(("PATH".to_owned(), path));
        }
        Program { command, env, folder: self.folder.clone(), user: None, end_by_quit: false }
    }

    /// Whether it publishes its configuration; the reason when not.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let check = async {
            let address = format!("{}/.well-known/openid-configuration", self.issuer());
            let found: Value = crate::registry::client()?.get(address).send().await?.error_for_status()?.json().await?;
            Ok::<_, reqwest::Error>(found.get("issuer").and_then(Value::as_str).map(str::to_owned))
        };
        match check.await {
            Ok(Some(issuer)) if issuer == self.issuer() => Ok(()),
            Ok(found) => Err(format!("it calls itself {}", found.unwrap_or_default())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A token for `subject` with these scopes. The mock gives one to anybody; Keycloak to the users of the realm.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn token(&self, subject: &str, scope: &str) -> Result<String, TokenError> {
        let form: Vec<(&str, &str)> = match self.provider {
            Provider::Mock => {
                vec![("grant_type", "client_credentials"), ("client_id", subject), ("client_secret", "any"), ("scope", scope)]
            }
            Provider::Keycloak => vec![
                ("grant_type", "password"),
                ("client_id", CLIENT),
                ("username", subject),
                ("password", DEMO_PASSWORD),
                ("scope", scope),
            ],
        };
        let form: String = form
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace(' ', "+")))
            .collect::<Vec<_>>()
            .join("&");
        let asked =
            crate::registry::client()?.post(self.token_url()).header("Content-Type", "application/x-www-form-urlencoded").body(form);
        let answer: Value = asked.send().await?.error_for_status()?.json().await?;
        answer.get("access_token").and_then(Value::as_str).map(str::to_owned).ok_or(TokenError::NoToken)
    }
}

/// How one gets a token by hand from the provider at `token_url`, for `./run status`.
#[must_use]
pub fn how_to_get_a_token(token_url: &str) -> String {
    let (who, scopes) = if token_url.contains("/realms/") {
        (format!("-d grant_type=password -d client_id={CLIENT} -d username=ada -d password={DEMO_PASSWORD}"), "orders:read orders:write")
    } else {
        ("-d grant_type=client_credentials -d client_id=ada -d client_secret=x".to_owned(), "orders:read orders:write stock:write")
    };
    format!("curl -s {token_url} {who} -d 'scope={scopes}'")
}

/// A client's id becomes the subject, what it asks for its scope. Who signs in by a browser gets the scopes of the role it chose on the page:
/// what was asked for at the login is not known any more when the code is traded. Claims given here would win over the page's.
fn mock_config(page: &Path) -> Value {
    json!({
        "interactiveLogin": true,
        "loginPagePath": page,
        "httpServer": "NettyWrapper",
        "tokenCallbacks": [{
            "issuerId": "default",
            "tokenExpiry": 3600,
            "requestMappings": [
                {
                    "requestParam": "grant_type", "match": "client_credentials",
                    "claims": { "sub": "${clientId}", "aud": [AUDIENCE], "scope": "${scope}" },
                },
                { "requestParam": "grant_type", "match": "*", "claims": { "aud": [AUDIENCE] } },
            ],
        }],
    })
}

/// The folder of the provider in a run folder.
pub(crate) fn folder(run: &Path) -> PathBuf {
    run.join("identity")
}
