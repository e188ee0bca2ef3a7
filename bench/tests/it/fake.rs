//! A gateway in this process: answers as the interface says, misbehaves as told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// What the gateway does to a request before it would answer properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Refuses for now, without doing anything.
    Answer { status: u16, retry_after: Option<u64>, code: &'static str },
    /// Does it, and closes the connection instead of answering.
    LoseAnswer,
    /// Closes the connection without doing anything.
    Hang,
}

/// How the gateway behaves.
#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    /// Moods of the first attempts of each key, in turn.
    pub(crate) moods: Vec<Mood>,
    /// An order is confirmed this long after it was placed.
    pub(crate) takes: Duration,
    /// Orders are never decided.
    pub(crate) stalled: bool,
    /// Products cannot be ordered yet when they are created first.
    pub(crate) slow_prices: bool,
    /// SKUs that are known without having been created.
    pub(crate) known: HashSet<String>,
}

/// What the gateway has seen and done.
#[derive(Debug, Default)]
pub(crate) struct State {
    behaviour: Behaviour,
    attempts: HashMap<String, usize>,
    by_key: HashMap<String, Uuid>,
    orders: BTreeMap<Uuid, (String, Instant, Timestamp)>,
    pub(crate) skus: HashSet<String>,
    pub(crate) requests: Vec<String>,
    pub(crate) in_flight_max: usize,
}

/// The gateway.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { behaviour, ..State::default() }));
        let fake = Self { url, state };
        let served = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        fake
    }

    pub(crate) fn orders(&self) -> usize {
        self.state.lock().unwrap().orders.len()
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream).await {
            let answer = self.state.lock().unwrap().handle(&request);
            let Some(answer) = answer else { return };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let mut first = lines[0].split(' ').map(str::to_owned);
        let (method, path) = (first.next()?, first.next()?);
        let headers: HashMap<_, _> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        Some(Self { method, path, headers, body })
    }
}

impl State {
    /// The answer; none when the connection is to be closed.
    fn handle(&mut self, request: &Request) -> Option<String> {
        let key = request.headers.get("idempotency-key").cloned().unwrap_or_default();
        self.requests.push(format!("{} {} {key}", request.method, request.path));
        let attempt = self.attempts.entry(key.clone()).or_default();
        *attempt += 1;
        let mood = if request.method == "POST" { self.behaviour.moods.get(*attempt - 1).copied() } else { None };
        match mood {
            Some(Mood::Answer { status, retry_after, code }) => {
                let after = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
                return Some(answer(status, &after, &json!({"code": code})));
            }
            Some(Mood::Hang) => return None,
            Some(Mood::LoseAnswer) => {
                self.route(request, &key);
                return None;
            }
            None => {}
        }
        Some(self.route(request, &key))
    }

    fn route(&mut self, request: &Request, key: &str) -> String {
        let customer = request.headers.get("x-customer-id").cloned().unwrap_or_default();
        match (request.method.as_str(), request.path.split('?').next().unwrap()) {
            ("POST", "/v1/products") => {
                let products: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
                assert!(products.len() <= 1_000 && products.iter().all(|product| product["stock"].as_u64().unwrap() > 0));
                if self.behaviour.slow_prices && self.attempts[key] == 1 {
                    return answer(202, "", &json!({"created": products.len()}));
                }
                self.skus.extend(products.iter().map(|product| product["sku"].as_str().unwrap().to_owned()));
                answer(201, "", &json!({"created": products.len()}))
            }
            ("POST", "/v1/orders") => self.place(request, key, &customer),
            ("GET", "/v1/orders") => {
                let mine: Vec<_> = self.orders.iter().rev().filter(|(_, order)| order.0 == customer).map(|(id, _)| *id).collect();
                let after = request.path.split_once("&after=").map(|(_, after)| Uuid::parse_str(after).unwrap());
                // Pages of two, so that paging is walked.
                let page: Vec<_> = mine.into_iter().filter(|id| after.is_none_or(|after| *id < after)).take(2).collect();
                let next = if page.len() == 2 { json!(page[1]) } else { Value::Null };
                answer(200, "", &json!({"data": page.iter().map(|id| self.order(*id)).collect::<Vec<_>>(), "next": next}))
            }
            ("GET", path) => {
                let id = path.strip_prefix("/v1/orders/").and_then(|id| Uuid::parse_str(id).ok()).unwrap();
                answer(200, "", &self.order(id))
            }
            _ => answer(404, "", &json!({"code": "not_found"})),
        }
    }

    fn place(&mut self, request: &Request, key: &str, customer: &str) -> String {
        if let Some(id) = self.by_key.get(key) {
            return answer(202, "Idempotent-Replayed: true\r\n", &self.order(*id));
        }
        let order: Value = serde_json::from_slice(&request.body).unwrap();
        for line in order["lines"].as_array().unwrap() {
            let sku = line["sku"].as_str().unwrap();
            if line["quantity"] == 0 {
                return answer(422, "", &json!({"code": "quantity_out_of_range"}));
            }
            if !self.skus.contains(sku) && !self.behaviour.known.contains(sku) {
                return answer(422, "", &json!({"code": "unknown_sku"}));
            }
        }
        let id = Uuid::now_v7();
        self.by_key.insert(key.to_owned(), id);
        self.orders.insert(id, (customer.to_owned(), Instant::now(), Timestamp::now()));
        let open = self.orders.keys().filter(|id| !self.ended(**id)).count();
        self.in_flight_max = self.in_flight_max.max(open);
        answer(202, "", &self.order(id))
    }

    fn ended(&self, id: Uuid) -> bool {
        !self.behaviour.stalled && self.orders[&id].1.elapsed() >= self.behaviour.takes
    }

    fn order(&self, id: Uuid) -> Value {
        let (_, _, placed_at) = &self.orders[&id];
        let ended = self.ended(id);
        let ended_at = ended.then(|| *placed_at + self.behaviour.takes);
        json!({"id": id, "status": if ended { "CONFIRMED" } else { "PENDING" }, "reason": null, "lines": [],
            "total": {"minor": 1, "currency": "USD"}, "placed_at": placed_at, "ended_at": ended_at})
    }
}

fn answer(status: u16, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
