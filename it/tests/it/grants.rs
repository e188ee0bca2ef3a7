//! What each service may do in its database, and that the rest is denied.

use std::{env, fs, path::Path};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::system::Shared;

const SERVICES: [&str; 3] = ["orders", "inventory", "payments"];

/// Every right of `$1` in this database, one a line. The children of the outbox are reached through it, and have no rights of their own.
const RIGHTS: &str = "
    SELECT format('%s %s', c.relname, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type)) FROM pg_class c, aclexplode(c.relacl) AS a
    WHERE a.grantee = $1::text::regrole AND c.relkind IN ('r', 'p', 'v') AND c.relnamespace = 'public'::regnamespace GROUP BY c.relname
    UNION ALL
    SELECT format('%s(%s) %s', c.relname, t.attname, a.privilege_type)
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) AS a WHERE a.grantee = $1::text::regrole
    UNION ALL
    SELECT format('%s() EXECUTE', p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND has_function_privilege($1, p.oid, 'EXECUTE')
    UNION ALL
    SELECT format('schema %s %s', nspname, right_) FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) AS right_
    WHERE nspname = 'public' AND has_schema_privilege($1, nspname, right_)
    UNION ALL
    SELECT format('database %s', right_) FROM unnest(ARRAY['CREATE', 'CONNECT']) AS right_
    WHERE has_database_privilege($1, current_database(), right_)
    UNION ALL
    SELECT format('sequence %s %s', c.relname, right_) FROM pg_class c, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS right_
    WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace AND has_sequence_privilege($1, c.oid, right_)
    UNION ALL
    SELECT format('attribute %s', attribute) FROM pg_roles,
        unnest(ARRAY['super', 'createrole', 'createdb', 'replication', 'bypassrls'], ARRAY[rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls])
            AS a (attribute, has) WHERE rolname = $1 AND has
    UNION ALL
    SELECT format('member of %s', r.rolname) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = $1::text::regrole
    ORDER BY 1";

#[tokio::test]
async fn the_rights_of_every_service_are_the_agreed_ones() {
    let system = Shared::enter().await;
    for service in SERVICES {
        let mut db = system.sql(service).await;
        let rights: Vec<String> = sqlx::query_scalar(RIGHTS).bind(service).fetch_all(&mut db).await.unwrap();
        let now = rights.join("\n") + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/grants/{service}.txt"));
        if env::var_os("WRITE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &now).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, agreed, "rights of {service}: grant knowingly, then WRITE_GOLDEN=1 cargo test -p it grants");
    }
    system.verdict().await;
}

#[tokio::test]
async fn a_service_cannot_rewrite_what_happened_nor_reach_beyond_its_own() {
    let system = Shared::enter().await;
    for service in SERVICES {
        let url = system.stack.database_url(service);
        let mut db = PgConnection::connect(&url).await.unwrap();
        for statement in [
            "UPDATE events SET payload = payload",
            "DELETE FROM events",
            "TRUNCATE events",
            "INSERT INTO outbox (id, tx_rows, message_id, topic, partition, key, headers, payload) VALUES (1, 1, gen_random_uuid(), 't', 0, '', '', '')",
            "UPDATE outbox SET payload = payload",
            "DELETE FROM outbox",
            "UPDATE outbox_0 SET payload = payload",
            "SELECT nextval('outbox_block')",
            "SELECT outbox_add_partition(99)",
            "UPDATE db_identity SET incarnation = gen_random_uuid()",
            "UPDATE db_identity SET mode = 'rebuild'",
            "UPDATE topic_partitions SET partitions = 1",
            "UPDATE schemas SET json = ''",
            "CREATE TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "ALTER TABLE events ADD COLUMN x int",
            "DROP TABLE events",
            "CREATE ROLE mallory",
            "ALTER ROLE reader SUPERUSER",
            "SET ROLE reader",
            "SELECT * FROM pg_authid",
            "SELECT pg_read_file('postgresql.conf')",
            "COPY events TO PROGRAM 'cat'",
            "SELECT pg_reload_conf()",
        ] {
            // In a transaction that is never committed, should the impossible happen.
            let mut tx = db.begin().await.unwrap();
            let denied = tx.execute(AssertSqlSafe(statement)).await;
            let code = denied.as_ref().err().and_then(|error| error.as_database_error()?.code().map(|code| code.to_string()));
            // insufficient_privilege. Source: PostgreSQL, appendix A.
            assert_eq!(code.as_deref(), Some("42501"), "{service}: {statement}: {denied:?}");
            tx.rollback().await.unwrap();
        }
        // A live database is not emptied by its service: only its owner gives it up.
        for statement in
            ["SELECT rebuild_begin('mallory', 'why not')", "SELECT rebuild_index()", "SELECT rebuild_finish(gen_random_uuid())"]
        {
            let refused = db.execute(statement).await;
            let code = refused.as_ref().err().and_then(|error| error.as_database_error()?.code().map(|code| code.to_string()));
            // object_not_in_prerequisite_state. Source: PostgreSQL, appendix A.
            assert_eq!(code.as_deref(), Some("55000"), "{service}: {statement}: {refused:?}");
        }
        for other in SERVICES.into_iter().filter(|other| *other != service) {
            let other = url.replace(&format!("/{service}"), &format!("/{other}"));
            assert_ne!(other, url);
            assert!(PgConnection::connect(&other).await.is_err(), "{service} came into {other}");
        }
    }
    system.verdict().await;
}
