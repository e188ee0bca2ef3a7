//! `setup`: what must exist before a service can serve, made by the owner role. Running it again changes nothing.

use record::Topic;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

use crate::cluster::Cluster;
use crate::relay;
use crate::retry;
use crate::rights;
use crate::service::Service;
use crate::topics;

/// The runtime's own tables.
static CORE: Migrator = sqlx::migrate!("./migrations");

/// Tables whose rows are facts: the service may add and read, never change.
const FACTS: &[&str] = &["events", "schemas", "inbox", "decisions", "incarnations"];
/// Tables it may also change or delete from.
const STATE: &[&str] = &["streams", "progress", "chain", "effects", "deadlines", "blocked_key", "parked"];
/// Tables it may only read.
const READ: &[&str] = &["outbox", "db_identity", "topic_partitions"];

/// Why set-up failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A migration failed.
    #[error("migrate the database")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("set up the database")]
    Database(#[from] sqlx::Error),
    /// Topics could not be made.
    #[error("set up the topics")]
    Topics(#[from] topics::Error),
    /// The position record could not be written.
    #[error("set up the relay's position")]
    Relay(#[from] relay::Error),
    /// Rights in Kafka could not be given.
    #[error("give the service its rights in Kafka")]
    Rights(#[from] rights::Error),
    /// A role name from the configuration is not a plain name.
    #[error("role name {0} is not a plain lower-case name")]
    Role(String),
}

/// Who is set up, by whom and for whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The owner's connection.
    pub owner: PgConnectOptions,
    /// The restricted role the service runs as.
    pub role: String,
    /// A role that may read everything.
    pub reader: String,
    /// The brokers, as a principal that may make topics and, where there are principals, give rights.
    pub cluster: Cluster,
    /// The topics the service's routes read.
    pub reads: Vec<&'static str>,
    /// Partitions of topics that do not exist yet.
    pub partitions: i32,
    /// How often and when the service's failed messages are tried again.
    pub tiers: retry::Tiers,
    /// Gives the database's content up: it is to be rebuilt from the topics.
    pub give_up: bool,
}

/// Migrates, grants in the database and in Kafka, makes the service's own topics and the first position record. A database
/// without content whose topics have some was lost: it is marked for a rebuild, which an operator starts.
///
/// # Errors
/// [`Error`]; what was done before stays and is found done by the next run.
pub async fn run<S: Service>(options: &Options) -> Result<(), Error> {
    for role in [&options.role, &options.reader] {
        if role.is_empty() || !role.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err(Error::Role(role.clone()));
        }
    }
    let mut db = PgConnection::connect_with(&options.owner).await?;
    migrate(&mut db, S::MIGRATOR).await?;
    grant(&mut db, options).await?;
    let own: Vec<&Topic> = S::TOPICS.iter().filter(|topic| topic.owner == S::NAME).collect();
    let failures = retry::topic_names(S::NAME, &options.tiers);
    let all: Vec<&str> = S::TOPICS.iter().map(|topic| topic.name).collect();
    record_partitions(&mut db, &all, options.partitions).await?;
    // A message that fails keeps its partition number, so that one member owns its key on every topic.
    let most: Option<i32> =
        sqlx::query_scalar("SELECT max(partitions) FROM topic_partitions WHERE topic = ANY($1)").bind(&all).fetch_one(&mut db).await?;
    let most = most.unwrap_or(options.partitions);
    let failures: Vec<&str> = failures.iter().map(String::as_str).collect();
    record_partitions(&mut db, &failures, most).await?;
    if options.cluster.login.is_some() {
        // Of earlier settings, too: what waits there is still read.
        let failures: Vec<String> = sqlx::query_scalar("SELECT topic FROM topic_partitions WHERE topic <> ALL($1) ORDER BY topic")
            .bind(&all)
            .fetch_all(&mut db)
            .await?;
        let of = rights::Of { service: S::NAME, topics: S::TOPICS, reads: &options.reads, failures: &failures };
        rights::grant(&options.cluster, &of, &options.reader).await?;
    }
    topics::create(&options.cluster, S::NAME, &own, options.partitions).await?;
    topics::create_failures(&options.cluster, &failures, most).await?;
    let names: Vec<&str> = own.iter().map(|topic| topic.name).chain(failures).collect();
    let config = relay::Config {
        service: S::NAME.to_owned(),
        bootstrap: options.cluster.bootstrap.clone(),
        login: options.cluster.login.clone(),
        connect: options.owner.clone(),
    };
    if options.give_up {
        mark_for_rebuild(&mut db).await?;
        tracing::warn!(service = S::NAME, "the database's content is given up; next: ops rebuild {} --execute", S::NAME);
    } else {
        match relay::write_first_position(&config, &names).await {
            Err(relay::Error::IncarnationMismatch { .. }) if is_given_up(&mut db).await? => {
                mark_for_rebuild(&mut db).await?;
                tracing::warn!(
                    service = S::NAME,
                    "the database is empty and its topics are not: it was lost; next: ops rebuild {} --execute",
                    S::NAME
                );
            }
            other => {
                other?;
            }
        }
    }
    db.close().await?;
    Ok(())
}

/// Whether nothing has ever happened in this database, or a rebuild of it was begun and not ended.
async fn is_given_up(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT mode = 'rebuild' OR (NOT EXISTS (SELECT FROM events) AND NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (SELECT FROM progress))
         FROM db_identity",
    )
    .fetch_one(db)
    .await
}

async fn mark_for_rebuild(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE db_identity SET mode = 'rebuild'").execute(db).await?;
    Ok(())
}

/// Applies the runtime's migrations, then the service's, each in its own history table.
async fn migrate(db: &mut PgConnection, service: &Migrator) -> Result<(), Error> {
    let mut core = Migrator::with_migrations(CORE.iter().cloned().collect());
    core.dangerous_set_table_name("_kafka_migrations");
    core.run(&mut *db).await?;
    service.run(&mut *db).await?;
    sqlx::query("INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid()) ON CONFLICT (only_row) DO NOTHING")
        .execute(&mut *db)
        .await?;
    sqlx::query("INSERT INTO incarnations (incarnation, because) SELECT incarnation, 'set up' FROM db_identity ON CONFLICT (incarnation) DO NOTHING")
        .execute(db)
        .await?;
    Ok(())
}

/// Everything the service's own migrations made is the service's to read and write; the runtime's tables as listed above.
async fn grant(db: &mut PgConnection, options: &Options) -> Result<(), Error> {
    let (role, reader) = (&options.role, &options.reader);
    let core: Vec<&str> = [FACTS, STATE, READ].concat();
    let own: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> ALL($1) AND c.relname NOT LIKE '\\_%' AND c.relname NOT LIKE 'outbox\\_%'
         ORDER BY 1",
    )
    .bind(&core)
    .fetch_all(&mut *db)
    .await?;
    let mut statements = vec![
        format!("GRANT USAGE ON SCHEMA public TO {role}, {reader}"),
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"),
        format!("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"),
        format!("GRANT SELECT ON {} TO {role}", READ.join(", ")),
        format!("GRANT SELECT ON outbox_block TO {role}, {reader}"),
        format!("GRANT SELECT, INSERT ON {} TO {role}", FACTS.join(", ")),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {role}", STATE.join(", ")),
        format!("GRANT UPDATE (cluster_id) ON db_identity TO {role}"),
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC".to_owned(),
        format!(
            "GRANT EXECUTE ON FUNCTION outbox_append, outbox_maintain, rebuild_begin, rebuild_index, rebuild_finish, content_hash TO {role}"
        ),
        format!("GRANT EXECUTE ON FUNCTION content_hash TO {reader}"),
    ];
    statements.extend(own.iter().map(|table| format!("GRANT SELECT, INSERT, UPDATE, DELETE ON \"{table}\" TO {role}")));
    for statement in statements {
        // Role names were checked, table names come from the catalogue.
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    Ok(())
}

/// Partition counts are fixed by the first set-up; a later setting does not change them.
async fn record_partitions(db: &mut PgConnection, topics: &[&str], partitions: i32) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO topic_partitions (topic, partitions) SELECT topic, $2 FROM unnest($1::text[]) AS t (topic) ORDER BY topic ON CONFLICT (topic) DO NOTHING")
        .bind(topics)
        .bind(partitions)
        .execute(db)
        .await?;
    Ok(())
}
