//! Where Kafka is, and as whom it is asked.

use rdkafka::ClientConfig;

use crate::config::{Config, Error, Secret};

/// A principal of Kafka, authenticated by SASL/SCRAM. The password is not printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name; rights are given to `User:<name>`.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// The one mechanism we log in by.
pub(crate) const MECHANISM: &str = "SCRAM-SHA-512";

impl Login {
    /// Has clients made of `client` log in as this principal; with `None` they do not log in.
    pub(crate) fn set(login: Option<&Self>, client: &mut ClientConfig) {
        let Some(login) = login else { return };
        client
            .set("security.protocol", "SASL_PLAINTEXT")
            .set("sasl.mechanism", MECHANISM)
            .set("sasl.username", &login.user)
            .set("sasl.password", login.password.expose());
    }
}

/// The brokers and the principal, if they know any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// Whom to log in as; none where Kafka trusts the network it is in.
    pub login: Option<Login>,
}

impl Cluster {
    /// Brokers that let in anybody.
    pub fn open(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), login: None }
    }

    /// From `kafka_bootstrap`, `kafka_user` and `kafka_password`.
    ///
    /// # Errors
    /// No brokers; a user without a password or the other way round.
    pub fn read(config: &Config) -> Result<Self, Error> {
        let named = config.optional("kafka_user").is_some() || config.optional("kafka_password").is_some();
        let login = if named {
            Some(Login { user: config.text("kafka_user")?.to_owned(), password: config.secret("kafka_password")? })
        } else {
            None
        };
        Ok(Self { bootstrap: config.text("kafka_bootstrap")?.to_owned(), login })
    }

    /// Settings of any client of these brokers.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        Login::set(self.login.as_ref(), &mut client);
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_given_to_the_client_and_not_printed() {
        let login = Login { user: "orders".to_owned(), password: Secret::new("hush") };
        let cluster = Cluster { bootstrap: "k:1".to_owned(), login: Some(login) };
        assert_eq!(cluster.client().get("sasl.password"), Some("hush"));
        assert_eq!(Cluster::open("k:1").client().get("security.protocol"), None);
        assert!(!format!("{cluster:?}").contains("hush"));
    }
}
