//! A system in miniature that keeps every promise: places orders, lets them interleave, fails some in every way the saga
//! knows, aborts relay transactions, and leaves a [`World`] behind.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use crate::checker::headers::{Headers, Src};
use crate::checker::message::{Body, Line, Money, Placed, Units};
use crate::checker::world::{
    EffectRow, EventRow, HoldLineRow, LedgerRow, Operation, OrderRow, OutboxRow, PartitionEnd, PaymentRow, PlacementKey, Position, Record,
    SagaRow, Service, StockRow, Topic, World,
};
use crate::httplog::{Entry, Outcome, hash};

/// How large and how rough a world is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) orders: usize,
    pub(super) skus: usize,
    pub(super) partitions: i32,
    /// Relay transactions that are aborted once before they commit.
    pub(super) aborts_percent: u64,
    /// Units of each SKU at the start.
    pub(super) stock: i64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { orders: 40, skus: 6, partitions: 3, aborts_percent: 10, stock: 40 }
    }
}

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Happy,
    OutOfStock,
    Declined,
    /// Cancelled by the customer before its payment was asked for.
    Cancelled,
    /// Ran out of time while in doubt, was captured, and refunded.
    Refunded,
    /// Cancelled while in doubt before the capture was tried.
    Voided,
    /// Confirmed, its commit never answered.
    Stuck,
}

/// An order on its way.
struct Case {
    order: Uuid,
    path: Path,
    phase: u8,
    customer: String,
    lines: Vec<Line>,
    total: Money,
    ids: HashMap<&'static str, Uuid>,
}

impl Case {
    fn units(&self) -> Units {
        self.lines.iter().map(|line| (line.sku.clone(), line.quantity)).collect()
    }

    fn id(&self, name: &str) -> Uuid {
        self.ids[name]
    }

    fn keep(&mut self, ids: &[Uuid], names: &[&'static str]) {
        for (id, name) in ids.iter().zip(names) {
            self.ids.insert(name, *id);
        }
    }
}

pub(super) struct Builder {
    world: World,
    shape: Shape,
    random: u64,
    offsets: BTreeMap<(Topic, i32), i64>,
    chain: HashMap<(Topic, i32), i64>,
    blocks: HashMap<Service, i64>,
    versions: BTreeMap<String, i64>,
    now_ms: i64,
}

impl Builder {
    /// A clean world, the same for the same arguments.
    pub(super) fn build(seed: u64, shape: Shape) -> World {
        let mut builder = Self {
            world: World { http: Some(Vec::new()), ..World::default() },
            shape,
            random: seed | 1,
            offsets: BTreeMap::new(),
            chain: HashMap::new(),
            blocks: HashMap::new(),
            versions: BTreeMap::new(),
            now_ms: 1_700_000_000_000,
        };
        builder.world.orders.log.incarnation = Uuid::from_u128(0xA);
        builder.world.inventory.log.incarnation = Uuid::from_u128(0xB);
        builder.world.payments.log.incarnation = Uuid::from_u128(0xC);
        builder.catalogue();
        let mut cases: Vec<Case> = (0..shape.orders).map(|number| builder.case(number)).collect();
        while !cases.is_empty() {
            let at = builder.below(cases.len() as u64) as usize;
            let mut case = cases.swap_remove(at);
            if builder.advance(&mut case) {
                cases.push(case);
            }
        }
        builder.refusal();
        builder.finish()
    }

    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64: good enough to mix, and the same on every machine
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit.max(1)
    }

    fn outside(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.below(u64::MAX), self.below(u64::MAX) | 1)
    }

    fn catalogue(&mut self) {
        for number in 0..self.shape.skus {
            let sku: Box<str> = format!("sku{number}").into();
            let price = Money { minor: 100 + number as i64, currency: "USD".into() };
            let units = self.shape.stock;
            let cause = self.outside();
            self.commit(
                Service::Inventory,
                cause,
                vec![Body::ProductListed { sku: sku.clone(), price: price.clone() }, Body::StockReceived { sku: sku.clone(), units }],
            );
            self.world.inventory.products.push((sku.clone(), price.clone()));
            self.world.orders.prices.push((sku.clone(), price));
            self.world.inventory.stock.push(StockRow { sku, received: units, available: units });
        }
        self.world.inventory.keys.push("catalogue".into());
        self.log("/v1/products", "catalogue", "", Some(201), None);
    }

    fn log(&mut self, path: &str, key: &str, customer: &str, status: Option<u16>, order_id: Option<Uuid>) {
        let entry = Entry {
            at_ms: self.now_ms,
            method: "POST".into(),
            path: path.into(),
            key: Some(key.into()),
            customer: Some(customer.into()),
            body_hash: Some(hash(key.as_bytes())),
            outcome: Outcome::of_status(status),
            status,
            order_id,
            response_hash: status.map(|_| hash(format!("{order_id:?}").as_bytes())),
        };
        self.world.http.as_mut().unwrap().push(entry);
    }

    /// One database transaction of `service` and its relay's: rows, and records, perhaps aborted once before.
    fn commit(&mut self, service: Service, cause: Uuid, bodies: Vec<Body>) -> Vec<Uuid> {
        let block = self.blocks.entry(service).or_insert(0);
        *block += 1 + (self.random % 3 / 2) as i64; // ids of rolled back transactions are never used
        let block = *block;
        self.now_ms += 1;
        let tx_rows = bodies.len() as i32;
        let incarnation = self.world.log(service).incarnation;
        let mut records = Vec::new();
        for (index, body) in bodies.into_iter().enumerate() {
            let (full_name, topic) = body.kind().unwrap();
            let (key, stream) = (body.key().unwrap(), body.stream().unwrap());
            let id = Uuid::new_v5(&cause, format!("{service}-{index}").as_bytes());
            let seq = block * 8192 + index as i64 + 1;
            let partition = ((murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED) & 0x7fff_ffff) % self.shape.partitions as u32) as i32;
            let prev = self.chain.insert((topic, partition), seq).unwrap_or_default();
            let version = (!topic.carries_commands()).then(|| {
                let version = self.versions.entry(stream.clone()).or_default();
                *version += 1;
                *version
            });
            let mut bytes = [0; 32];
            bytes.copy_from_slice(digest(&SHA256, format!("{body:?}").as_bytes()).as_ref());
            let log = match service {
                Service::Orders => &mut self.world.orders.log,
                Service::Inventory => &mut self.world.inventory.log,
                Service::Payments => &mut self.world.payments.log,
            };
            log.outbox.push(OutboxRow {
                id: seq,
                tx_rows,
                message_id: id,
                topic: topic.name().into(),
                partition,
                key: key.as_str().into(),
                hash: bytes,
            });
            if let Some(version) = version {
                log.events.push(EventRow {
                    stream: stream.as_str().into(),
                    version,
                    event_id: id,
                    full_name: full_name.into(),
                    topic: topic.name().into(),
                    causation_id: cause,
                    hash: bytes,
                });
            }
            records.push(Record {
                topic,
                partition,
                offset: 0,
                committed: true,
                at_ms: self.now_ms,
                headers: Headers {
                    id: Some(id),
                    full_name: full_name.into(),
                    source: format!("/{service}").into(),
                    subject: key.as_str().into(),
                    cause: Some(cause),
                    correlation: key.as_str().into(),
                    stream: stream.into(),
                    version,
                    src: Some(Src { service: service.name().into(), incarnation }),
                    seq: Some(seq),
                    prev: Some(prev),
                    repeated_because: None,
                    faults: Vec::new(),
                },
                key: key.into(),
                hash: bytes,
                body,
            });
        }
        if self.below(100) < self.shape.aborts_percent {
            self.append(&records, false);
        }
        self.append(&records, true);
        records.iter().filter_map(|record| record.headers.id).collect()
    }

    /// Appends a Kafka transaction: its records, then a marker on every partition it touched.
    fn append(&mut self, records: &[Record], committed: bool) {
        for record in records {
            let next = self.offsets.entry((record.topic, record.partition)).or_default();
            self.world.records.push(Record { offset: *next, committed, ..record.clone() });
            *next += 1;
        }
        let touched: std::collections::BTreeSet<_> = records.iter().map(|record| (record.topic, record.partition)).collect();
        for partition in touched {
            *self.offsets.entry(partition).or_default() += 1;
        }
    }

    fn case(&mut self, number: usize) -> Case {
        let mut lines: Vec<Line> = Vec::new();
        for _ in 0..=self.below(3) {
            let sku = self.below(self.shape.skus as u64);
            let line = Line { sku: format!("sku{sku}").into(), quantity: 1 + self.below(4) as i64, unit_price_minor: 100 + sku as i64 };
            if lines.iter().all(|other| other.sku != line.sku) {
                lines.push(line);
            }
        }
        let path = match self.below(12) {
            0 => Path::Declined,
            1 => Path::Cancelled,
            2 => Path::Refunded,
            3 => Path::Voided,
            4 if number.is_multiple_of(3) => Path::Stuck,
            _ => Path::Happy,
        };
        let total = Money { minor: lines.iter().map(|line| line.quantity * line.unit_price_minor).sum(), currency: "USD".into() };
        let customer = format!("customer{}", self.below(9));
        Case { order: Uuid::from_u128(0x1000 + number as u128), path, phase: 0, customer, lines, total, ids: HashMap::new() }
    }

    /// One more hop of an order; `false` when it has ended.
    fn advance(&mut self, case: &mut Case) -> bool {
        let order = case.order;
        case.phase += 1;
        match case.phase {
            1 => self.place(case),
            2 => self.reserve(case),
            3 => self.authorize(case),
            4 => self.react(case),
            5 if case.path == Path::Happy || case.path == Path::Stuck => {
                let ids = self.capture(case);
                case.keep(&ids, &["captured"]);
            }
            5 if case.path == Path::Refunded => {
                self.capture(case);
            }
            6 if case.path == Path::Happy || case.path == Path::Stuck => {
                let ids = self.commit(
                    Service::Orders,
                    case.id("captured"),
                    vec![Body::OrderConfirmed { order }, step(order, "capture", "done", None), Body::CommitInventoryHold { order }],
                );
                case.ids.insert("commit", ids[2]);
                self.order_row(order).status = "CONFIRMED".into();
                if case.path == Path::Stuck {
                    let cause = self.outside();
                    self.commit(Service::Orders, cause, vec![step(order, "commit", "stuck", Some("deadline"))]);
                    self.saga_row(order).status = "stuck".into();
                    return false;
                }
            }
            7 if case.path == Path::Happy => {
                let ids = self.commit(Service::Inventory, case.id("commit"), vec![Body::InventoryHoldCommitted { order }]);
                case.keep(&ids, &["committed"]);
                self.hold_state(order, "committed");
            }
            8 if case.path == Path::Happy => {
                self.end(case, case.id("committed"), "confirmed");
                return false;
            }
            5..=8 => return self.undo(case),
            _ => return false,
        }
        true
    }

    fn place(&mut self, case: &mut Case) {
        let order = case.order;
        let key = format!("key-{order}");
        let scope = format!("{}:POST /v1/orders", case.customer);
        let request_hash = order.as_bytes().to_vec();
        let placed = Placed {
            order,
            customer: case.customer.as_str().into(),
            lines: case.lines.clone(),
            total: case.total.clone(),
            scope: scope.as_str().into(),
            key: key.as_str().into(),
            request_hash: request_hash.clone(),
        };
        let cause = self.outside();
        let ids = self.commit(
            Service::Orders,
            cause,
            vec![
                Body::OrderPlaced(Box::new(placed)),
                Body::SagaStarted { order },
                Body::CreateInventoryHold { order, lines: case.units() },
            ],
        );
        case.keep(&ids, &["placed", "started", "create"]);
        self.world.orders.orders.push(OrderRow {
            id: order,
            customer: case.customer.as_str().into(),
            status: "PENDING".into(),
            reason: None,
            lines: case.lines.clone(),
            total: case.total.clone(),
            ended: false,
        });
        self.world.orders.keys.push(PlacementKey { scope: scope.into(), key: key.as_str().into(), request_hash, order });
        self.world.orders.sagas.push(SagaRow { order, status: "running".into() });
        // some clients never hear the answer and ask again
        if self.below(4) == 0 {
            self.log("/v1/orders", &key, &case.customer, None, None);
        }
        for _ in 0..=self.below(2) {
            self.log("/v1/orders", &key, &case.customer, Some(202), Some(order));
        }
    }

    fn reserve(&mut self, case: &mut Case) {
        let order = case.order;
        for line in &case.lines {
            match self.world.inventory.demand.iter_mut().find(|(sku, _)| *sku == line.sku) {
                Some((_, units)) => *units += line.quantity,
                None => self.world.inventory.demand.push((line.sku.clone(), line.quantity)),
            }
        }
        let short = case.lines.iter().any(|line| self.stock(&line.sku).available < line.quantity);
        let body = if short {
            case.path = Path::OutOfStock;
            self.world.inventory.holds.push((order, "rejected".into()));
            Body::InventoryRejected { order }
        } else {
            self.world.inventory.holds.push((order, "held".into()));
            for line in &case.lines {
                self.stock(&line.sku).available -= line.quantity;
                self.world.inventory.hold_lines.push(HoldLineRow { order, sku: line.sku.clone(), quantity: line.quantity });
            }
            Body::InventoryReserved { order, lines: case.units() }
        };
        let ids = self.commit(Service::Inventory, case.id("create"), vec![body]);
        case.keep(&ids, &["reserved"]);
    }

    fn authorize(&mut self, case: &mut Case) {
        let order = case.order;
        let key = Uuid::new_v5(&order, b"authorize");
        let (state, body) = if case.path == Path::Declined {
            ("declined", Body::PaymentDeclined { order })
        } else {
            ("authorized", Body::PaymentAuthorized { order, amount: case.total.clone() })
        };
        let ids = self.commit(Service::Payments, case.id("placed"), vec![body]);
        case.keep(&ids, &["authorized"]);
        let currency = case.total.currency.clone();
        self.world.payments.payments.push(PaymentRow {
            order,
            state: state.into(),
            captured_minor: 0,
            refunded_minor: 0,
            currency: currency.clone(),
        });
        self.world.payments.effects.push(EffectRow {
            stream: format!("payment-{order}").into(),
            step: "authorize".into(),
            key,
            state: "done".into(),
        });
        self.world.operations.push(Operation { auth_key: key, state: state.into(), captured_minor: 0, refunded_minor: 0, currency });
    }

    /// order-service decides what the two answers mean.
    fn react(&mut self, case: &mut Case) {
        let order = case.order;
        match case.path {
            Path::Happy | Path::Stuck => {
                let ids = self.commit(
                    Service::Orders,
                    case.id("reserved"),
                    vec![step(order, "hold", "done", None), Body::CapturePayment { order, amount: case.total.clone() }],
                );
                case.ids.insert("capture", ids[1]);
            }
            Path::OutOfStock => {
                let ids = self.commit(
                    Service::Orders,
                    case.id("reserved"),
                    vec![
                        cancelled(order, "out_of_stock"),
                        step(order, "hold", "refused", Some("out_of_stock")),
                        Body::VoidPayment { order },
                    ],
                );
                case.ids.insert("void", ids[2]);
                self.cancelled_row(order, "out_of_stock");
            }
            Path::Declined => {
                let ids = self.commit(
                    Service::Orders,
                    case.id("authorized"),
                    vec![
                        cancelled(order, "payment_declined"),
                        step(order, "authorize", "refused", Some("payment_declined")),
                        Body::ReleaseInventoryHold { order },
                    ],
                );
                case.ids.insert("release", ids[2]);
                self.cancelled_row(order, "payment_declined");
            }
            Path::Cancelled => {
                let cause = self.outside();
                let ids = self.commit(
                    Service::Orders,
                    cause,
                    vec![
                        cancelled(order, "cancelled_by_customer"),
                        step(order, "hold", "cancelled", Some("cancelled_by_customer")),
                        Body::ReleaseInventoryHold { order },
                        Body::VoidPayment { order },
                    ],
                );
                case.ids.insert("release", ids[2]);
                case.ids.insert("void", ids[3]);
                self.cancelled_row(order, "cancelled_by_customer");
                self.log(&format!("/v1/orders/{order}/cancel"), "", &case.customer, Some(202), Some(order));
            }
            Path::Refunded | Path::Voided => {
                let ids = self.commit(
                    Service::Orders,
                    case.id("reserved"),
                    vec![step(order, "hold", "done", None), Body::CapturePayment { order, amount: case.total.clone() }],
                );
                case.ids.insert("capture", ids[1]);
                let cause = self.outside();
                let ids = self.commit(
                    Service::Orders,
                    cause,
                    vec![cancelled(order, "deadline"), step(order, "capture", "in_doubt", Some("deadline")), Body::VoidPayment { order }],
                );
                case.ids.insert("void", ids[2]);
                self.cancelled_row(order, "deadline");
            }
        }
    }

    fn capture(&mut self, case: &Case) -> Vec<Uuid> {
        let order = case.order;
        let ids = self.commit(Service::Payments, case.id("capture"), vec![Body::PaymentCaptured { order, amount: case.total.clone() }]);
        self.book(case, 1);
        let row = self.payment_row(order);
        row.state = "captured".into();
        row.captured_minor = case.total.minor;
        let operation = self.operation(order);
        operation.state = "captured".into();
        operation.captured_minor = case.total.minor;
        ids
    }

    fn book(&mut self, case: &Case, sign: i64) {
        let version = self.versions[&format!("payment-{}", case.order)];
        for (account, sign) in [("customer", -sign), ("merchant", sign)] {
            self.world.payments.ledger.push(LedgerRow {
                order: case.order,
                version,
                account: account.into(),
                amount_minor: sign * case.total.minor,
                currency: case.total.currency.clone(),
            });
        }
    }

    /// The compensations are answered, then the saga ends.
    fn undo(&mut self, case: &mut Case) -> bool {
        let order = case.order;
        let voids = case.ids.contains_key("void") && !case.ids.contains_key("voided");
        let releases = case.ids.contains_key("release") && !case.ids.contains_key("released");
        if voids {
            let state = if case.path == Path::Refunded { "refunded" } else { "voided" };
            let body = if case.path == Path::Refunded {
                Body::PaymentRefunded { order, amount: case.total.clone() }
            } else {
                Body::PaymentVoided { order }
            };
            let ids = self.commit(Service::Payments, case.id("void"), vec![body]);
            case.keep(&ids, &["voided"]);
            let minor = if case.path == Path::Refunded { case.total.minor } else { 0 };
            if minor > 0 {
                self.book(case, -1);
            }
            let row = self.payment_row(order);
            row.state = state.into();
            row.refunded_minor = minor;
            let operation = self.operation(order);
            operation.state = state.into();
            operation.refunded_minor = minor;
            // in doubt, the hold is released after the answer
            if matches!(case.path, Path::Refunded | Path::Voided) {
                let ids = self.commit(
                    Service::Orders,
                    case.id("voided"),
                    vec![step(order, "capture", "undone", None), Body::ReleaseInventoryHold { order }],
                );
                case.ids.insert("release", ids[1]);
            }
        } else if releases {
            let ids = self.commit(Service::Inventory, case.id("release"), vec![Body::InventoryHoldReleased { order, lines: case.units() }]);
            case.keep(&ids, &["released"]);
            self.hold_state(order, "released");
            for line in &case.lines {
                self.stock(&line.sku).available += line.quantity;
            }
        } else {
            let cause = *case.ids.get("released").or_else(|| case.ids.get("voided")).unwrap();
            self.end(case, cause, "cancelled");
            return false;
        }
        case.phase = 4;
        if case.path == Path::Refunded {
            case.phase = 5;
        }
        true
    }

    fn end(&mut self, case: &Case, cause: Uuid, outcome: &str) {
        let order = case.order;
        self.commit(Service::Orders, cause, vec![Body::SagaEnded { order, outcome: outcome.into() }]);
        self.order_row(order).ended = true;
        self.saga_row(order).status = "ended".into();
    }

    fn cancelled_row(&mut self, order: Uuid, reason: &str) {
        let row = self.order_row(order);
        row.status = "CANCELLED".into();
        row.reason = Some(reason.into());
    }

    fn order_row(&mut self, order: Uuid) -> &mut OrderRow {
        self.world.orders.orders.iter_mut().find(|row| row.id == order).unwrap()
    }

    fn saga_row(&mut self, order: Uuid) -> &mut SagaRow {
        self.world.orders.sagas.iter_mut().find(|row| row.order == order).unwrap()
    }

    fn payment_row(&mut self, order: Uuid) -> &mut PaymentRow {
        self.world.payments.payments.iter_mut().find(|row| row.order == order).unwrap()
    }

    fn operation(&mut self, order: Uuid) -> &mut Operation {
        let key = Uuid::new_v5(&order, b"authorize");
        self.world.operations.iter_mut().find(|row| row.auth_key == key).unwrap()
    }

    fn stock(&mut self, sku: &str) -> &mut StockRow {
        self.world.inventory.stock.iter_mut().find(|row| *row.sku == *sku).unwrap()
    }

    fn hold_state(&mut self, order: Uuid, state: &str) {
        self.world.inventory.holds.iter_mut().find(|(id, _)| *id == order).unwrap().1 = state.into();
    }

    fn refusal(&mut self) {
        self.log("/v1/orders", "refused-key", "customer1", Some(422), None);
        self.log("/v1/stock", "refused-receipt", "", Some(422), None);
    }

    fn finish(mut self) -> World {
        for topic in Topic::ALL {
            for partition in 0..self.shape.partitions {
                let high = self.offsets.get(&(topic, partition)).copied().unwrap_or_default();
                self.world.ends.push(PartitionEnd { topic, partition, low: 0, high, stable: high });
            }
        }
        for service in Service::ALL {
            let log = self.world.log(service);
            let cursor = log.outbox.iter().map(|row| row.id).max().unwrap_or_default();
            self.world.positions.push(Position { service, incarnation: log.incarnation, cursor });
        }
        for (stream, version) in self.versions {
            let log = match stream.split('-').next().unwrap() {
                "order" | "saga" => &mut self.world.orders.log,
                "payment" => &mut self.world.payments.log,
                _ => &mut self.world.inventory.log,
            };
            log.streams.push((stream.into(), version));
        }
        self.world.records.sort_by_key(|record| (record.topic, record.partition, record.offset));
        self.world
    }
}

fn step(order: Uuid, step: &str, state: &str, reason: Option<&str>) -> Body {
    Body::SagaStepRecorded { order, step: step.into(), state: state.into(), reason: reason.map(Into::into), decided_by: None }
}

fn cancelled(order: Uuid, reason: &str) -> Body {
    Body::OrderCancelled { order, reason: reason.into() }
}
