//! Each service's database: migrations, rights of its role, clock; and what it says about topics and schemas.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{Check, Database};

/// The runtime's migrations and each service's, as this version of `ops` was built with them.
static CORE: Migrator = sqlx::migrate!("../kafka/migrations");
static ORDERS: Migrator = sqlx::migrate!("../order-service/migrations");
static INVENTORY: Migrator = sqlx::migrate!("../inventory-service/migrations");
static PAYMENTS: Migrator = sqlx::migrate!("../payment-service/migrations");

const PATIENCE: Duration = Duration::from_secs(5);

/// What a database says about the world around it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) service: &'static str,
    pub(super) cluster: Option<String>,
    /// Topic and partitions.
    pub(super) topics: Vec<(String, i32)>,
    /// Id, subject and text of schemas.
    pub(super) schemas: Vec<(i32, String, String)>,
}

pub(super) async fn look(database: &Database<'_>, clock_ms: u64) -> (Vec<Check>, Facts) {
    let name = database.name;
    let facts = Facts { service: name, ..Facts::default() };
    let Some(url) = database.url else { return (vec![Check::unknown(format!("database {name}"), database.variable)], facts) };
    let connected = tokio::time::timeout(PATIENCE, PgConnection::connect(url)).await;
    let mut db = match connected {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return (vec![away(name, &error)], facts),
        Err(_elapsed) => {
            return (vec![Check::away(format!("database {name}"), "no answer within 5 s", "./run status names PostgreSQL's log")], facts);
        }
    };
    let looked = tokio::time::timeout(PATIENCE, all(&mut db, name, clock_ms)).await;
    match looked {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => (vec![away(name, &error)], facts),
        Err(_elapsed) => {
            (vec![Check::away(format!("database {name}"), "no answer within 5 s", "./run status names PostgreSQL's log")], facts)
        }
    }
}

fn away(name: &str, error: &sqlx::Error) -> Check {
    Check::away(
        format!("database {name}"),
        super::http::why(error),
        "./run status names PostgreSQL's log and the right address; ./run starts it",
    )
}

async fn all(db: &mut PgConnection, name: &'static str, clock_ms: u64) -> Result<(Vec<Check>, Facts), sqlx::Error> {
    let checks = vec![clock(db, name, clock_ms).await?, migrations(db, name).await?, roles(db, name).await?];
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('public.topic_partitions') IS NOT NULL").fetch_one(&mut *db).await?;
    let mut facts = Facts { service: name, ..Facts::default() };
    if exists {
        facts.cluster = sqlx::query_scalar("SELECT cluster_id FROM db_identity").fetch_optional(&mut *db).await?.flatten();
        facts.topics = sqlx::query_as("SELECT topic, partitions FROM topic_partitions ORDER BY topic").fetch_all(&mut *db).await?;
        facts.schemas = sqlx::query_as("SELECT id, subject, json FROM schemas ORDER BY id, subject").fetch_all(&mut *db).await?;
    }
    Ok((checks, facts))
}

async fn clock(db: &mut PgConnection, name: &str, clock_ms: u64) -> Result<Check, sqlx::Error> {
    let theirs: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetch_one(db).await?;
    let apart = Timestamp::now().as_millisecond().abs_diff(theirs);
    let check = format!("database {name} clock");
    Ok(if apart > clock_ms {
        Check::bad(check, format!("{apart} ms from this machine's"), "timedatectl set-ntp true, on both machines")
    } else {
        Check::good(check, "agrees with this machine's")
    })
}

async fn migrations(db: &mut PgConnection, name: &str) -> Result<Check, sqlx::Error> {
    let own = match name {
        "orders" => &ORDERS,
        "inventory" => &INVENTORY,
        _ => &PAYMENTS,
    };
    let check = format!("database {name} migrations");
    let mend = format!("{name} setup: `./run` runs it, in containers docker compose up {name}-setup; then restart the service");
    let mut missing = Vec::new();
    for (table, migrator) in [("_kafka_migrations", &CORE), ("_sqlx_migrations", own)] {
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(format!("public.{table}")).fetch_one(&mut *db).await?;
        if !exists {
            return Ok(Check::bad(check, "the database was never set up", mend));
        }
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT version, success, checksum FROM {table} ORDER BY version")))
            .fetch_all(&mut *db)
            .await?;
        let mut applied = BTreeSet::new();
        for row in rows {
            let version: i64 = row.try_get("version")?;
            if !row.try_get::<bool, _>("success")? {
                return Ok(Check::bad(check, format!("migration {version} of {table} broke off"), mend));
            }
            let same = migrator
                .iter()
                .find(|known| known.version == version)
                .is_none_or(|known| known.checksum.as_ref() == row.try_get::<Vec<u8>, _>("checksum").unwrap_or_default());
            if !same {
                return Ok(Check::bad(
                    check,
                    format!("migration {version} of {table} is another than this version's"),
                    "run the version of ops that belongs to the services",
                ));
            }
            applied.insert(version);
        }
        missing.extend(migrator.iter().map(|known| known.version).filter(|version| !applied.contains(version)));
    }
    Ok(if missing.is_empty() { Check::good(check, "all applied") } else { Check::bad(check, format!("not applied: {missing:?}"), mend) })
}

/// What a service's role must not be able to do, and what it must.
async fn roles(db: &mut PgConnection, name: &str) -> Result<Check, sqlx::Error> {
    let check = format!("database {name} roles");
    let mend = format!("as the database's owner: REVOKE the right, then run {name} setup, which grants what is needed");
    let role = sqlx::query(
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls AS mighty,
                pg_get_userbyid((SELECT datdba FROM pg_database WHERE datname = current_database())) = rolname AS owns
         FROM pg_roles WHERE rolname = $1",
    )
    .bind(name)
    .fetch_optional(&mut *db)
    .await?;
    let Some(role) = role else {
        return Ok(Check::bad(check, format!("there is no role {name}"), "stack/compose/postgres-init.sh makes the roles"));
    };
    if role.try_get("mighty")? || role.try_get("owns")? {
        return Ok(Check::bad(
            check,
            format!("role {name} is more than a service's role"),
            format!("ALTER ROLE {name} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS; the owner is {name}_owner"),
        ));
    }
    let rights = sqlx::query(
        "SELECT t.name, t.privilege, has_table_privilege($1, 'public.' || t.name, t.privilege) AS has, t.wanted
         FROM (VALUES ('events', 'SELECT', true), ('events', 'INSERT', true), ('events', 'UPDATE', false), ('events', 'DELETE', false),
                      ('outbox', 'SELECT', true), ('outbox', 'INSERT', false), ('outbox', 'DELETE', false),
                      ('streams', 'UPDATE', true), ('progress', 'UPDATE', true), ('decisions', 'UPDATE', false)) AS t (name, privilege, wanted)
         WHERE to_regclass('public.' || t.name) IS NOT NULL ORDER BY 1, 2",
    )
    .bind(name)
    .fetch_all(&mut *db)
    .await?;
    for row in rights {
        let (table, right, has, wanted): (String, String, bool, bool) =
            (row.try_get("name")?, row.try_get("privilege")?, row.try_get("has")?, row.try_get("wanted")?);
        if has != wanted {
            let found = format!("role {name} {} {right} {table}", if has { "may" } else { "may not" });
            let mend = if has { format!("REVOKE {right} ON {table} FROM {name}") } else { mend };
            return Ok(Check::bad(check, found, mend));
        }
    }
    Ok(Check::good(check, format!("role {name} may add to events and change none")))
}
