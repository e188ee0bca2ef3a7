use sqlx::{Connection, PgConnection, Row};
use stack::{Part, Stack};

async fn scalar(url: &str, statement: &'static str) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let row = sqlx::query(statement).fetch_one(&mut connection).await?;
    connection.close().await?;
    row.try_get(0)
}

async fn run(url: &str, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(statement).execute(&mut connection).await?;
    connection.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_survives_a_kill_and_a_restart() {
    let stack = Stack::infrastructure().await.unwrap();
    for part in [Part::Postgres, Part::Kafka, Part::Registry] {
        stack.check(part).await.unwrap();
        stack.kill(part).await.unwrap();
        assert!(stack.running().contains(&(part, false)));
        stack.restart(part).await.unwrap();
        stack.check(part).await.unwrap();
    }
    let folder = stack.folder().to_owned();
    assert!(folder.join("state.json").exists());
    drop(stack);
    assert!(!folder.exists(), "a temporary folder goes with its stack");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_sees_its_own_database_only_and_the_reader_sees_all() {
    let stack = Stack::only_postgres().await.unwrap();
    let first = stack.create_database("orders").await.unwrap();
    let second = stack.create_database("orders").await.unwrap();
    assert_ne!(first.name, second.name);
    run(&first.owner_url, "CREATE TABLE facts (id bigint); INSERT INTO facts VALUES (7)").await.unwrap();
    assert_eq!(scalar(&first.reader_url, "SELECT id FROM facts").await.unwrap(), 7);
    scalar(&first.url, "SELECT id FROM facts").await.expect_err("nothing was granted to the restricted role");
    run(&first.url, "CREATE TABLE mine (id bigint)").await.expect_err("the restricted role owns nothing");
    scalar(&first.url.replace(&first.name, "payments"), "SELECT 1::bigint").await.expect_err("another service's database");
    run(&first.reader_url, "INSERT INTO facts VALUES (8)").await.expect_err("the reader only reads");
    run(&stack.database_url("provider"), "CREATE TABLE operations (id bigint)").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_part_hangs_until_it_is_continued() {
    let stack = Stack::only_postgres().await.unwrap();
    let url = stack.reader_url("orders");
    stack.stop(Part::Postgres).unwrap();
    let hangs = tokio::time::timeout(std::time::Duration::from_millis(300), scalar(&url, "SELECT 1::bigint")).await;
    assert!(hangs.is_err(), "the server answered while it was stopped");
    stack.cont(Part::Postgres).unwrap();
    assert_eq!(scalar(&url, "SELECT 1::bigint").await.unwrap(), 1);
}
