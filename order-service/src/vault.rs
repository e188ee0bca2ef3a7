//! Keys of customers' personal data: one a customer, wrapped by the key-encryption key of the configuration, in a database of their own.
//!
//! What is sealed with a destroyed key is as good as gone everywhere: topics, tables, dead letters, backups. So a key is read for each use and
//! never remembered, and orders without personal data ask nothing here.

use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use contract::Contact;
use futures_util::future::BoxFuture;
use kafka::anyhow_lite;
use kafka::config::Config;
use kafka::ops::{Erasures, Refusal};
use kafka::seal::{self, Sealed, Sealer};
use operation::{Act, Erased};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Row};
use uuid::Uuid;
use values::{CustomerId, OrderId};

static MIGRATOR: Migrator = sqlx::migrate!("./keys");

/// Names the key-encryption key, until it is rotated.
const WRAPPED_BY: &str = "1";
/// Field name in the associated data of a sealed contact and of a wrapped key.
const CONTACT: &str = "contact";
const KEY: &str = "customer_key";
/// Few at once: only orders with personal data come here.
const CONNECTIONS: u32 = 4;

/// Why personal data could not be sealed or opened. Says nothing about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key store does not answer.
    #[error("ask the key store")]
    Database(#[from] sqlx::Error),
    /// A key or a value is not what it should be.
    #[error("use a customer's key")]
    Seal(#[from] seal::Error),
    /// No randomness.
    #[error("make a customer's key")]
    Random,
}

/// The key store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    pool: PgPool,
    wrapper: Arc<Sealer>,
}

/// A contact ready to be stored, and its keyed hash.
#[derive(Debug, Clone)]
pub struct SealedContact {
    /// For the event.
    pub sealed: Sealed,
    /// HMAC-SHA-256 of the contact under the customer's key: tells a repetition from another request, and nothing once the key is gone.
    pub mac: Vec<u8>,
}

impl Vault {
    /// From `keys_database_url` and `keys_key`; none when neither is set: then orders with personal data are refused.
    ///
    /// # Errors
    /// Only one of them is set, or one is not what it should be.
    pub fn read(config: &Config) -> anyhow_lite::Result<Option<Self>> {
        if config.optional("keys_database_url").is_none() && config.optional("keys_key").is_none() {
            return Ok(None);
        }
        let wrapper = Sealer::new(WRAPPED_BY, config.secret("keys_key")?.expose())?;
        let connect = PgConnectOptions::from_str(config.secret("keys_database_url")?.expose())?.application_name("orders.keys");
        let connect = connect.options([("statement_timeout", "5s"), ("idle_in_transaction_session_timeout", "5s")]);
        let pool =
            PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(std::time::Duration::from_secs(3)).connect_lazy_with(connect);
        Ok(Some(Self { pool, wrapper: Arc::new(wrapper) }))
    }

    /// Seals `contact` with its customer's key, which is made if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn seal(&self, customer: &CustomerId, order: OrderId, contact: &Contact) -> Result<SealedContact, Error> {
        let (key_id, key) = self.key_of(customer).await?;
        let plain = serde_json::to_vec(contact).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let sealed = Sealer::new(key_id.to_string(), &key)?.seal(&order.to_string(), CONTACT, &plain)?;
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), &contact.canonical());
        Ok(SealedContact { sealed, mac: mac.as_ref().to_vec() })
    }

    /// Opens what [`Vault::seal`] made for the order; none once the key is destroyed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(&self, order: OrderId, sealed: &Sealed) -> Result<Option<Contact>, Error> {
        let Ok(key_id) = sealed.key_id.parse::<Uuid>() else { return Err(seal::Error::Open(sealed.key_id.clone()).into()) };
        let row = sqlx::query("SELECT customer_id, nonce, wrapped FROM customer_keys WHERE key_id = $1 AND erased_at IS NULL")
            .bind(key_id)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let key = self.unwrap(row.try_get("customer_id")?, row.try_get("nonce")?, row.try_get("wrapped")?)?;
        let plain = Sealer::new(sealed.key_id.as_str(), &key)?.open(&order.to_string(), CONTACT, sealed)?;
        Ok(Some(serde_json::from_slice(&plain).map_err(|error| sqlx::Error::Decode(Box::new(error)))?))
    }

    /// The customer's key in hexadecimal. Two requests that make one at the same time end with the same.
    async fn key_of(&self, customer: &CustomerId) -> Result<(Uuid, String), Error> {
        loop {
            let row = sqlx::query("SELECT key_id, nonce, wrapped FROM customer_keys WHERE customer_id = $1 AND erased_at IS NULL")
                .bind(customer.as_str())
                .fetch_optional(&self.pool)
                .await?;
            if let Some(row) = row {
                let key = self.unwrap(customer.as_str(), row.try_get("nonce")?, row.try_get("wrapped")?)?;
                return Ok((row.try_get("key_id")?, key));
            }
            let mut key = [0_u8; 32];
            rand::fill(&mut key).map_err(|_unspecified| Error::Random)?;
            let wrapped = self.wrapper.seal(customer.as_str(), KEY, &key)?;
            sqlx::query(
                "INSERT INTO customer_keys (customer_id, wrapped_by, nonce, wrapped) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (customer_id) WHERE erased_at IS NULL DO NOTHING",
            )
            .bind(customer.as_str())
            .bind(WRAPPED_BY)
            .bind(wrapped.nonce)
            .bind(wrapped.bytes)
            .execute(&self.pool)
            .await?;
        }
    }

    fn unwrap(&self, customer: &str, nonce: Vec<u8>, bytes: Vec<u8>) -> Result<String, Error> {
        let wrapped = Sealed { key_id: WRAPPED_BY.to_owned(), nonce, bytes };
        Ok(hex::encode(self.wrapper.open(customer, KEY, &wrapped)?))
    }

    /// Destroys the customer's keys, and their bytes in the store's own file. Returns how many there were; without `execute`, how many there are.
    async fn destroy(&self, customer: &CustomerId, act: &Act) -> Result<u64, sqlx::Error> {
        if !act.execute {
            let live: i64 = sqlx::query_scalar("SELECT count(*) FROM customer_keys WHERE customer_id = $1 AND erased_at IS NULL")
                .bind(customer.as_str())
                .fetch_one(&self.pool)
                .await?;
            return Ok(live.unsigned_abs());
        }
        let mut tx = self.pool.begin().await?;
        let destroyed = sqlx::query(
            "UPDATE customer_keys SET nonce = NULL, wrapped = NULL, erased_at = now() WHERE customer_id = $1 AND erased_at IS NULL",
        )
        .bind(customer.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        sqlx::query("INSERT INTO erasures (customer_id, who, why, keys) VALUES ($1, $2, $3, $4)")
            .bind(customer.as_str())
            .bind(&act.who)
            .bind(&act.why)
            .bind(i64::try_from(destroyed).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        // The old version of the row still has the bytes until the table is written anew. It is small, and erasures are rare.
        sqlx::query("VACUUM FULL customer_keys").execute(&self.pool).await?;
        Ok(destroyed)
    }
}

impl Erasures for Vault {
    fn erase(&self, subject: String, act: Act) -> BoxFuture<'static, Result<Erased, Refusal>> {
        let vault = self.clone();
        Box::pin(async move {
            let customer: CustomerId = subject.parse().map_err(|error: values::CustomerIdError| Refusal::query(error.to_string()))?;
            let keys = vault.destroy(&customer, &act).await?;
            Ok(Erased { executed: act.execute, subject, keys })
        })
    }
}

/// Makes the tables of the key store as its owner, and lets the service's role use them. Nothing when `owner_keys_database_url` is not set.
///
/// # Errors
/// The store cannot be reached or refuses.
pub async fn set_up(config: &Config) -> anyhow_lite::Result<()> {
    if config.optional("owner_keys_database_url").is_none() {
        return Ok(());
    }
    let role = config.text("keys_role")?;
    if !role.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Err(format!("keys_role {role} is not a plain lower-case name").into());
    }
    let owner = PgConnectOptions::from_str(config.secret("owner_keys_database_url")?.expose())?;
    let mut db = PgConnection::connect_with(&owner).await?;
    MIGRATOR.run(&mut db).await?;
    for statement in [
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
        // MAINTAIN: to have the bytes of a destroyed key overwritten.
        format!("GRANT SELECT, INSERT, MAINTAIN ON customer_keys TO {role}"),
        format!("GRANT UPDATE (nonce, wrapped, erased_at) ON customer_keys TO {role}"),
        format!("GRANT SELECT, INSERT ON erasures TO {role}"),
    ] {
        // The role's name was checked.
        sqlx::query(AssertSqlSafe(statement)).execute(&mut db).await?;
    }
    db.close().await?;
    Ok(())
}
