//! A request that must not happen twice: its key, its effects and its answer are one transaction.

use std::time::Duration;

use contract::{Body, Code, Problem, RequestHash};
use kafka::{Cause, Failure, MessageId, Needs, Retry, Unit, Units, retry_of};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;
use values::CustomerId;

use crate::store::Rows;
use crate::store::requests::{self, Request};

/// How long a request waits for another one with its key, and for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It happened; the answer as JSON.
    Done(String),
    /// It had happened before; the answer it got then.
    Replayed(String),
    /// It did not happen.
    Refused(Problem),
}

/// The identity of a request with this key and body: a key is its user's, for one operation.
pub(crate) fn identify<T: Body>(
    user: Option<&CustomerId>,
    operation: &str,
    key: &contract::IdempotencyKey,
    body: &T,
    trace: Option<trace::Context>,
) -> Request {
    let scope = user.map_or_else(|| operation.to_owned(), |user| format!("{user}:{operation}"));
    Request { scope, key: key.to_string(), hash: RequestHash::of(body).as_bytes().to_vec(), trace }
}

enum Try {
    Ended(Ended),
    /// Another transaction holds the key.
    InFlight,
}

/// Decides and writes `request` once, however often it comes. `work` may run again when another writer got there first.
pub(crate) async fn once<A: Serialize>(
    units: &Units,
    request: &Request,
    needs: impl Fn() -> Needs<Rows>,
    work: impl Fn(&mut Unit<Rows>) -> Result<Result<A, Problem>, Failure>,
) -> Ended {
    let give_up_at = Instant::now() + PATIENCE;
    let mut wait = Duration::from_millis(10);
    loop {
        let problem = match attempt(units, request, &needs, &work).await {
            Ok(Try::Ended(ended)) => return ended,
            Ok(Try::InFlight) => Problem::new(Code::RequestInFlight),
            Err(error) if retry_of(&error) == Retry::Same => {
                tracing::warn!(error = %error, scope = request.scope, "a request is tried again");
                Problem::new(Code::Unavailable)
            }
            Err(error) => {
                tracing::error!(error = %error, scope = request.scope, "a request cannot be written");
                return Ended::Refused(Problem::new(Code::Internal));
            }
        };
        if Instant::now() + wait > give_up_at {
            return Ended::Refused(problem);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(250));
    }
}

async fn attempt<A: Serialize>(
    units: &Units,
    request: &Request,
    needs: impl Fn() -> Needs<Rows>,
    work: impl Fn(&mut Unit<Rows>) -> Result<Result<A, Problem>, Failure>,
) -> Result<Try, sqlx::Error> {
    let mut tx = units.begin().await?;
    match requests::claim(&mut tx, request).await {
        Ok(true) => {}
        Ok(false) => {
            tx.rollback().await?;
            return replay(units, request).await;
        }
        // lock_not_available. Source: PostgreSQL appendix A.
        Err(error) if error.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03") => return Ok(Try::InFlight),
        Err(error) => return Err(error),
    }
    let mut unit: Unit<Rows> = units.load(&mut tx, needs()).await?;
    // With an id of its own: a key may be used again once it is forgotten, and what follows then must not have the ids of what was before.
    let cause = MessageId::external(&request.scope, &format!("{} {}", request.key, Uuid::now_v7()));
    unit.because(Cause::new(cause, cause.to_string()).traced(request.trace));
    let outcome = work(&mut unit).and_then(|outcome| match outcome {
        Ok(answer) => match serde_json::to_string(&answer) {
            Ok(body) => Ok(Ok(body)),
            Err(error) => Err(Failure::permanent("answer_unwritable", error.to_string())),
        },
        Err(problem) => Ok(Err(problem)),
    });
    match outcome {
        Ok(Ok(body)) => {
            requests::answer(&mut tx, request, &body).await?;
            units.store(&mut tx, &mut unit).await?;
            // A COMMIT whose answer is lost is tried again: if it did happen, the key says so and the answer is replayed.
            tx.commit().await?;
            units.committed(&mut unit);
            Ok(Try::Ended(Ended::Done(body)))
        }
        Ok(Err(problem)) => {
            tx.rollback().await?;
            Ok(Try::Ended(Ended::Refused(problem)))
        }
        Err(failure) => {
            tx.rollback().await?;
            tracing::error!(code = failure.code, error = %failure, scope = request.scope, "a request cannot be decided");
            Ok(Try::Ended(Ended::Refused(Problem::new(Code::Internal))))
        }
    }
}

async fn replay(units: &Units, request: &Request) -> Result<Try, sqlx::Error> {
    Ok(match requests::find(units.pool(), request).await? {
        Some(answered) if answered.hash == request.hash => Try::Ended(Ended::Replayed(answered.response)),
        Some(_) => Try::Ended(Ended::Refused(Problem::new(Code::IdempotencyKeyReused))),
        // The key was held by a transaction that rolled back.
        None => Try::InFlight,
    })
}
