//! Placing orders: requests that arrive together are committed together, each with its own answer.
//!
//! One transaction: the keys nobody has yet are inserted, their orders placed and their sagas started. What its keys say decides each request:
//!
//! | the key | answer |
//! |---|---|
//! | was free | the order, placed |
//! | belongs to the very order id we would place | the order, placed: an earlier COMMIT of ours whose answer was lost |
//! | was used with the same request | the order as it was placed, replayed |
//! | was used with another request | `idempotency_key_reused` |
//! | is in an open transaction for longer than we wait | `request_in_flight` |
//!
//! A rejected order leaves nothing behind, its key neither; but a key that was used before answers first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contract::{IdempotencyKey, RequestHash};
use kafka::{Cause, Failure, GroupCommit, MessageId, Needs, Retry, Unit, Units, retry_of};
use order_domain::{Basket, Command, Event, Lines, Order, Placed, Placement, Rejection, SealedValue};
use sqlx::{Postgres, Transaction};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};
use values::{CustomerId, OrderId};

use crate::steer::{OrderSaga, order_stream};
use crate::store::{self, KeyRow, Rows, UsedKey};
use crate::wire;

/// Requests in one transaction at most: three outbox rows each, and the database refuses more than 5,000.
const BATCH_MAX: usize = 256;
/// Requests that wait at most; beyond, clients are told to come back.
const QUEUE_MAX: usize = 1_024;
/// Requests that are redone singly at the same time; each holds a connection.
const ALONE_MAX: usize = 4;
/// Requests that wait to be redone singly; beyond, clients are told to come back.
const ALONE_QUEUE_MAX: usize = 256;
/// How long a lost COMMIT is redone.
const COMMIT_LOST: Duration = Duration::from_secs(5);
/// Tries of a single request that meets infrastructure errors.
const TRIES: u32 = 3;

/// A batch gives up a lock soon, so that one slow key does not hold up the others.
const BEGIN_BATCH: &str = "BEGIN; SET LOCAL lock_timeout = '500ms'";
/// A single request waits for the first with its key.
const BEGIN_ALONE: &str = "BEGIN; SET LOCAL lock_timeout = '2s'";

/// A request to place an order, checked and ready.
#[derive(Debug, Clone)]
pub struct Request {
    /// The id the order gets if its key is free; the same at every try.
    pub order_id: OrderId,
    /// Whose order it is.
    pub customer: CustomerId,
    /// Names the intent.
    pub key: IdempotencyKey,
    /// What the body says.
    pub hash: RequestHash,
    /// What is ordered.
    pub lines: Lines,
    /// How it is paid.
    pub payment_token: SealedValue,
    /// Whom it is for, if it says.
    pub contact: Option<SealedValue>,
    /// Where in which trace it was asked for.
    pub trace: Option<trace::Context>,
}

impl Request {
    fn scope(&self) -> String {
        scope(&self.customer)
    }
}

/// Whose keys they are and for which operation.
#[must_use]
pub fn scope(customer: &CustomerId) -> String {
    format!("{customer}:POST /v1/orders")
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The order exists.
    Placed {
        /// As it was placed.
        order: Arc<contract::Order>,
        /// It was placed by an earlier request with this key.
        replayed: bool,
    },
    /// It cannot be placed.
    Rejected(Rejection),
    /// The key was used with another request.
    KeyReused,
    /// The first request with the key has not ended.
    InFlight,
    /// Too many requests stand in each other's way.
    Overloaded,
    /// The database cannot be reached; whether the order was placed the same key will tell.
    Unavailable,
    /// A defect; logged.
    Internal,
}

impl Answer {
    /// The answer to a request that says the same under the same key.
    fn repeated(&self) -> Self {
        match self {
            Self::Placed { order, .. } => Self::Placed { order: Arc::clone(order), replayed: true },
            Self::Rejected(_) | Self::KeyReused | Self::InFlight | Self::Overloaded | Self::Unavailable | Self::Internal => self.clone(),
        }
    }
}

/// What the writer says to a request: its answer, or where to wait for it while the writer goes on with the others.
#[derive(Debug, Clone)]
pub struct Reply {
    answer: watch::Receiver<Option<Answer>>,
    repeated: bool,
}

impl Reply {
    fn now(answer: Answer) -> Self {
        Self { answer: watch::channel(Some(answer)).1, repeated: false }
    }

    /// Waits for the answer; a request that is redone alone ends within seconds.
    pub async fn answer(mut self) -> Answer {
        let answer = match self.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Answer::Internal),
            // The task died: the process is going down.
            Err(_closed) => Answer::Unavailable,
        };
        if self.repeated { answer.repeated() } else { answer }
    }

    /// The same answer for a request that says the same under the same key.
    fn repeated(&self) -> Self {
        Self { repeated: true, ..self.clone() }
    }
}

/// Why a transaction did not end well.
enum Fault {
    /// Before COMMIT: nothing was done.
    Database(sqlx::Error),
    /// At COMMIT: it may have been done.
    CommitLost(sqlx::Error),
    /// A decision could not be written.
    Defect(Failure),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Requests redone singly, beside the writer: how many wait and how many run.
struct Alone {
    waiting: Arc<Semaphore>,
    running: Semaphore,
}

/// The writer of placements.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Units of work.
    pub units: Units,
    /// The saga that is started with each order.
    pub saga: OrderSaga,
}

impl Writer {
    /// Starts the writer on the current runtime.
    #[must_use]
    pub fn spawn(self) -> GroupCommit<Request, Reply> {
        let writer = Arc::new(self);
        let alone = Arc::new(Alone { waiting: Arc::new(Semaphore::new(ALONE_QUEUE_MAX)), running: Semaphore::new(ALONE_MAX) });
        GroupCommit::spawn(BATCH_MAX, QUEUE_MAX, move |requests| {
            let (writer, alone) = (Arc::clone(&writer), Arc::clone(&alone));
            async move { writer.commit(requests, &alone).await }
        })
    }

    /// Replies to each request, in order.
    async fn commit(self: &Arc<Self>, requests: Vec<Request>, alone: &Arc<Alone>) -> Vec<Reply> {
        let mut replies: HashMap<usize, Reply> = HashMap::with_capacity(requests.len());
        let mut open: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
        while !open.is_empty() {
            let (groups, rest) = fold(open);
            let firsts: Vec<&Request> = groups.iter().map(|group| group.first.1).collect();
            for (group, reply) in groups.iter().zip(self.place(&firsts, alone).await) {
                replies.extend(group.same.iter().map(|position| (*position, reply.repeated())));
                replies.insert(group.first.0, reply);
            }
            open = rest;
        }
        (0..requests.len()).map(|position| replies.remove(&position).unwrap_or(Reply::now(Answer::Internal))).collect()
    }

    /// Places requests with different keys together; those that stand in each other's way are redone singly, beside the writer, so that one slow key
    /// costs the others half a second and no more.
    async fn place(self: &Arc<Self>, requests: &[&Request], alone: &Arc<Alone>) -> Vec<Reply> {
        match self.place_redone(requests, BEGIN_BATCH).await {
            Ok(answers) => answers.into_iter().map(Reply::now).collect(),
            // Not an error of one of the rows: each alone would fail as well.
            Err(Fault::CommitLost(_)) => vec![Reply::now(Answer::Unavailable); requests.len()],
            Err(Fault::Database(error)) if error.as_database_error().is_none() => {
                tracing::warn!(error = %error, requests = requests.len(), "place orders");
                vec![Reply::now(Answer::Unavailable); requests.len()]
            }
            Err(Fault::Database(_) | Fault::Defect(_)) => {
                requests.iter().map(|request| self.redo_alone((*request).clone(), alone)).collect()
            }
        }
    }

    fn redo_alone(self: &Arc<Self>, request: Request, alone: &Arc<Alone>) -> Reply {
        let Ok(place) = Arc::clone(&alone.waiting).try_acquire_owned() else { return Reply::now(Answer::Overloaded) };
        let (teller, answer) = watch::channel(None);
        let (writer, alone) = (Arc::clone(self), Arc::clone(alone));
        tokio::spawn(async move {
            // Never closed; a semaphore that were would only lift the limit.
            let running = alone.running.acquire().await;
            let answer = writer.place_alone(&request).await;
            drop((running, place));
            teller.send_replace(Some(answer));
        });
        Reply { answer, repeated: false }
    }

    async fn place_alone(&self, request: &Request) -> Answer {
        for attempt in 1..=TRIES {
            match self.place_redone(&[request], BEGIN_ALONE).await {
                Ok(answers) => return answers.into_iter().next().unwrap_or(Answer::Internal),
                Err(Fault::CommitLost(error)) => {
                    tracing::warn!(error = %error, order.id = %request.order_id, "place an order: its COMMIT is in doubt");
                    return Answer::Unavailable;
                }
                Err(Fault::Database(error)) if is_lock_timeout(&error) => return Answer::InFlight,
                Err(Fault::Database(error)) if retry_of(&error) == Retry::Same => {
                    tracing::warn!(error = %error, attempt, "place an order");
                    sleep(Duration::from_millis(20) * attempt).await;
                }
                Err(Fault::Database(error)) => {
                    tracing::error!(error = %error, order.id = %request.order_id, "place an order");
                    return Answer::Internal;
                }
                Err(Fault::Defect(failure)) => {
                    tracing::error!(code = failure.code, error = %failure, order.id = %request.order_id, "place an order");
                    return Answer::Internal;
                }
            }
        }
        Answer::Unavailable
    }

    /// Redoes a lost COMMIT with the same order ids: the key's conflict waits for the old backend, and a row with our order id is our own success.
    async fn place_redone(&self, requests: &[&Request], begin: &'static str) -> Result<Vec<Answer>, Fault> {
        let give_up = Instant::now() + COMMIT_LOST;
        loop {
            match self.place_once(requests, begin).await {
                Err(Fault::CommitLost(error)) if Instant::now() < give_up => {
                    tracing::warn!(error = %error, requests = requests.len(), "a lost COMMIT is redone");
                    sleep(Duration::from_millis(50)).await;
                }
                done => return done,
            }
        }
    }

    async fn place_once(&self, requests: &[&Request], begin: &'static str) -> Result<Vec<Answer>, Fault> {
        let mut tx = self.units.pool().begin_with(begin).await?;
        let mut needs: Needs<Rows> = Needs::default();
        for request in requests {
            OrderSaga::needs(request.order_id, &mut needs);
            needs.work.skus.extend(request.lines.iter().map(|line| line.sku.clone()));
        }
        let mut unit = self.units.load(&mut tx, needs).await?;
        let decided: Vec<Result<Placed, Rejection>> = requests.iter().map(|request| decide(&unit, request)).collect();
        let mut answers = self.keys(&mut tx, requests, &decided).await?;
        let mut placed_any = false;
        for ((request, decided), answer) in requests.iter().zip(decided).zip(&mut answers) {
            if let (None, Ok(placed)) = (&answer, decided) {
                *answer = Some(Answer::Placed { order: Arc::new(store::shown(request.order_id, &placed)?), replayed: false });
                self.write(&mut unit, request, placed).map_err(Fault::Defect)?;
                placed_any = true;
            }
        }
        if placed_any {
            self.units.store(&mut tx, &mut unit).await?;
            tx.commit().await.map_err(Fault::CommitLost)?;
            self.units.committed(&mut unit);
        } else {
            tx.rollback().await?;
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or(Answer::Internal)).collect())
    }

    /// Takes the keys of orders that can be placed. Some answer: the key was used before, or the order is rejected; none: it is to be placed.
    async fn keys(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        requests: &[&Request],
        decided: &[Result<Placed, Rejection>],
    ) -> Result<Vec<Option<Answer>>, Fault> {
        let scopes: Vec<String> = requests.iter().map(|request| request.scope()).collect();
        let row = |(request, scope): (&&'_ Request, &'_ String)| (request.order_id, request.hash, request.key.clone(), scope.clone());
        let all: Vec<_> = requests.iter().zip(&scopes).map(row).collect();
        let free: Vec<KeyRow<'_>> = all
            .iter()
            .zip(decided)
            .filter(|(_, decided)| decided.is_ok())
            .map(|((order_id, hash, key, scope), _)| KeyRow {
                scope,
                key: key.as_str(),
                request_hash: hash.as_bytes(),
                order_id: *order_id,
            })
            .collect();
        let taken = store::insert_keys(tx, &free).await?;
        let others: Vec<(&str, &str)> =
            all.iter().filter(|(id, ..)| !taken.contains(id)).map(|(_, _, key, scope)| (scope.as_str(), key.as_str())).collect();
        let used = store::used_keys(tx, &others).await?;
        let answer = |((request, scope), decided): ((&&Request, &String), &Result<Placed, Rejection>)| {
            match (taken.contains(&request.order_id), used.get(&(scope.clone(), request.key.to_string())), decided) {
                (true, _, _) => None,
                (false, Some(used), _) => Some(answer_of(request, used)),
                (false, None, Err(rejection)) => Some(Answer::Rejected(rejection.clone())),
                // The key was there when we inserted and is gone now: somebody deletes keys by hand.
                (false, None, Ok(_)) => Some(Answer::InFlight),
            }
        };
        Ok(requests.iter().zip(&scopes).zip(decided).map(answer).collect())
    }

    fn write(&self, unit: &mut Unit<Rows>, request: &Request, placed: Placed) -> Result<(), Failure> {
        let (id, scope) = (request.order_id, request.scope());
        // With the order's id: a key may be used again once it is forgotten, and what follows then must not have the ids of what was before.
        unit.because(Cause::new(MessageId::external(&scope, &format!("{} {id}", request.key)), id.to_string()).traced(request.trace));
        let idempotency =
            schemas::orders::Idempotency { scope, key: request.key.to_string(), request_hash: request.hash.as_bytes().to_vec() };
        let record = wire::order_placed(id, &placed, idempotency);
        let order = order_domain::evolve(Order::None, &Event::Placed(placed.clone()));
        unit.append(&order_stream(id), &id.to_string(), &record, &order)?;
        self.saga.start(unit, id, &placed.lines)?;
        unit.work.place(id, placed);
        Ok(())
    }
}

/// What a used key says to this request.
fn answer_of(request: &Request, used: &UsedKey) -> Answer {
    if used.request_hash != request.hash.as_bytes() {
        return Answer::KeyReused;
    }
    Answer::Placed { replayed: used.order.id != request.order_id, order: Arc::new(used.order.clone()) }
}

fn decide(unit: &Unit<Rows>, request: &Request) -> Result<Placed, Rejection> {
    let basket = Basket::new(request.lines.clone(), |sku| unit.work.price(sku));
    let placement = Placement {
        customer: request.customer.clone(),
        basket,
        payment_token: Some(request.payment_token.clone()),
        contact: request.contact.clone(),
        at: unit.now(),
    };
    // The id is new, so the order is; a redone batch meets its own key before it gets to write.
    match order_domain::decide(&Order::None, &Command::Place(placement))?.into_iter().next() {
        Some(Event::Placed(placed)) => Ok(placed),
        Some(Event::Confirmed { .. } | Event::Cancelled { .. }) | None => Err(Rejection::AlreadyPlaced),
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03")
}

/// Requests that say the same under the same key: the first does the work.
struct Group<'a> {
    first: (usize, &'a Request),
    same: Vec<usize>,
}

/// Folds requests by key. What says something else under a key that is in a group is left for the next round, when the key's fate is known.
fn fold(open: Vec<(usize, &Request)>) -> (Vec<Group<'_>>, Vec<(usize, &Request)>) {
    let mut groups: Vec<Group<'_>> = Vec::with_capacity(open.len());
    let mut by_key: HashMap<(&CustomerId, &IdempotencyKey), usize> = HashMap::with_capacity(open.len());
    let mut rest = Vec::new();
    for (position, request) in open {
        let next = groups.len();
        let index = *by_key.entry((&request.customer, &request.key)).or_insert(next);
        match groups.get_mut(index) {
            None => groups.push(Group { first: (position, request), same: Vec::new() }),
            Some(group) if group.first.1.hash == request.hash => group.same.push(position),
            Some(_) => rest.push((position, request)),
        }
    }
    (groups, rest)
}

#[cfg(test)]
mod tests {
    use contract::parse;
    use order_domain::Line;

    use super::*;

    fn request(customer: &str, key: &str, units: u32) -> Request {
        let body = format!(r#"{{"lines":[{{"sku":"a","quantity":{units}}}],"payment":{{"token":"tok_ok"}}}}"#);
        let body: contract::PlaceOrder = parse(body.as_bytes()).unwrap();
        let line = Line { sku: "a".parse().unwrap(), quantity: units.try_into().unwrap() };
        Request {
            order_id: uuid::Uuid::from_u128(units.into()).into(),
            customer: customer.parse().unwrap(),
            key: key.parse().unwrap(),
            hash: RequestHash::of(&body),
            lines: Lines::new(vec![line]).unwrap(),
            payment_token: SealedValue::new("k.00.00"),
            contact: None,
            trace: None,
        }
    }

    #[test]
    fn requests_are_folded_by_customer_and_key() {
        let requests =
            [request("ann", "1", 1), request("ann", "1", 1), request("bob", "1", 1), request("ann", "1", 2), request("ann", "2", 1)];
        let (groups, rest) = fold(requests.iter().enumerate().collect());
        let shape: Vec<(usize, Vec<usize>)> = groups.into_iter().map(|group| (group.first.0, group.same)).collect();
        assert_eq!(shape, [(0, vec![1]), (2, vec![]), (4, vec![])]);
        assert_eq!(rest.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [3]);
    }
}
