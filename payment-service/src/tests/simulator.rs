use futures_util::future::join_all;
use uuid::Uuid;
use values::{Currency, Money};

use super::world::database;
use crate::provider::{AuthKey, Error, Provider, Simulator, Token, Undone};

const AMOUNT: Money = Money::new(500, Currency::USD);

fn key() -> AuthKey {
    AuthKey::from(Uuid::now_v7())
}

fn token(text: &str) -> Token {
    Token::from(text.to_owned())
}

#[tokio::test]
async fn books_survive_the_process() {
    let (url, _) = database("provider").await;
    let (key, other) = (key(), key());
    let first = Simulator::connect(&url).await.unwrap();
    first.authorize(key, AMOUNT, &token("tok_ok")).await.unwrap();
    first.void(other).await.unwrap();
    let second = Simulator::connect(&url).await.unwrap();
    second.capture(key, AMOUNT).await.unwrap();
    assert_eq!(second.void(key).await.unwrap(), Undone::Refunded(AMOUNT));
    assert_eq!(first.void(key).await.unwrap(), Undone::Refunded(AMOUNT));
    let refused = second.authorize(other, AMOUNT, &token("tok_ok")).await;
    assert!(matches!(&refused, Err(Error::Permanent { code }) if code == "voided"), "{refused:?}");
}

#[tokio::test]
async fn two_processes_on_the_same_keys_lose_nothing() {
    let (url, pool) = database("provider").await;
    let simulators = [Simulator::connect(&url).await.unwrap(), Simulator::connect(&url).await.unwrap()];
    let keys: Vec<AuthKey> = (0..50).map(|_| key()).collect();
    let calls = keys.iter().flat_map(|key| {
        simulators.iter().map(move |simulator| async move {
            let card = token("tok_ok");
            simulator.authorize(*key, AMOUNT, &card).await?;
            simulator.capture(*key, AMOUNT).await
        })
    });
    for result in join_all(calls).await {
        result.unwrap();
    }
    let (rows, calls, captured): (i64, i64, i64) =
        sqlx::query_as("SELECT count(*), sum(calls), sum(captured_minor)::bigint FROM operations").fetch_one(&pool).await.unwrap();
    assert_eq!((rows, calls, captured), (50, 200, 25_000), "every call of both is counted, every key is captured once");
}

#[tokio::test]
async fn what_arrives_together_is_one_transaction() {
    let (url, pool) = database("provider").await;
    let simulator = Simulator::connect(&url).await.unwrap();
    let card = token("tok_ok");
    join_all((0..200).map(|_| simulator.authorize(key(), AMOUNT, &card))).await.into_iter().for_each(|result| result.unwrap());
    let transactions: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM operations").fetch_one(&pool).await.unwrap();
    assert!(transactions <= 3, "{transactions} transactions for 200 calls at once");
}
