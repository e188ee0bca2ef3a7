//! I4: money is conserved.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::finding::{Finding, Invariant};
use super::message::{Body, Money};
use super::story::{End, Story, stories, stuck};
use super::world::{Operation, PaymentRow, World};

/// Money is conserved: for each ended order captured − refunded is its total if it was confirmed and nothing otherwise,
/// by the topics, the payments table, the ledger and the provider alike; so are the sums over all orders. The ledger's
/// entries balance, nothing is captured twice, and no authorisation of an ended order is open.
#[must_use]
pub fn i4(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I4);
    let stories = stories(world);
    let payments: HashMap<Uuid, &PaymentRow> = world.payments.payments.iter().map(|row| (row.order, row)).collect();
    let provider = provider(&mut finding, world, &stories);
    let ledger = Ledger::read(&mut finding, world);
    let stuck = stuck(world);
    let mut sums: BTreeMap<Box<str>, Sums> = BTreeMap::new();
    for (order, story) in &stories {
        let ids = || [order.to_string()];
        finding.check(story.captured.len() <= 1, ids, || format!("captured {} times", story.captured.len()));
        finding.check(story.refunded.len() <= 1, ids, || format!("refunded {} times", story.refunded.len()));
        let operations = provider.get(order).map_or(&[][..], Vec::as_slice);
        let captures = operations.iter().filter(|operation| operation.captured_minor > 0).count();
        finding.check(captures <= 1, ids, || format!("provider captured {captures} times"));
        ledger.books(&mut finding, story);
        let Some(placed) = story.placed.first() else { continue };
        let lines: i128 = placed.lines.iter().map(|line| i128::from(line.quantity) * i128::from(line.unit_price_minor)).sum();
        finding.check(lines == i128::from(placed.total.minor), ids, || format!("lines add up to {lines}, the total is {}", placed.total));
        for amount in &story.captured {
            finding.check(**amount == placed.total, ids, || format!("captured {amount} of an order of {}", placed.total));
        }
        let due = match story.end() {
            End::Confirmed => i128::from(placed.total.minor),
            End::Cancelled => 0,
            End::Open => continue,
        };
        if stuck.contains(order) {
            continue;
        }
        let told = Sums {
            due,
            topics: net(story.captured.iter().map(|money| money.minor), story.refunded.iter().map(|money| money.minor)),
            payments: payments.get(order).map_or(0, |row| net([row.captured_minor], [row.refunded_minor])),
            ledger: ledger.balance(*order),
            provider: net(operations.iter().map(|row| row.captured_minor), operations.iter().map(|row| row.refunded_minor)),
        };
        finding.check(told.agree(), ids, || format!("captured − refunded: {told}"));
        sums.entry(placed.total.currency.clone()).or_default().add(&told);
        let open = payments.get(order).is_some_and(|row| row.state.as_ref() == "authorized");
        finding.check(!open, ids, || "order has ended, its payment is still authorized".into());
        for operation in operations.iter().filter(|operation| operation.state.as_ref() == "authorized") {
            finding.broken(
                [order.to_string(), operation.auth_key.to_string()],
                "order has ended, its authorisation is open at the provider".into(),
            );
        }
    }
    for (currency, sums) in &sums {
        finding.check(sums.agree(), || [currency.to_string()], || format!("sum over all orders of captured − refunded: {sums}"));
    }
    for row in &world.payments.payments {
        let known = stories.get(&row.order).is_some_and(|story| !story.placed.is_empty());
        finding.check(known, || [row.order.to_string()], || "payment of an order that was never placed".into());
    }
    finding
}

/// Captured − refunded by each witness, minor units.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    due: i128,
    topics: i128,
    payments: i128,
    ledger: i128,
    provider: i128,
}

impl Sums {
    fn agree(&self) -> bool {
        [self.topics, self.payments, self.ledger, self.provider].into_iter().all(|sum| sum == self.due)
    }

    fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.topics += other.topics;
        self.payments += other.payments;
        self.ledger += other.ledger;
        self.provider += other.provider;
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { due, topics, payments, ledger, provider } = self;
        write!(f, "due {due}, topics {topics}, payments {payments}, ledger {ledger}, provider {provider}")
    }
}

fn net(captured: impl IntoIterator<Item = i64>, refunded: impl IntoIterator<Item = i64>) -> i128 {
    captured.into_iter().map(i128::from).sum::<i128>() - refunded.into_iter().map(i128::from).sum::<i128>()
}

/// Namespace of all derived ids. Source: kafka/src/message.rs; the derivation is part of what is published (PROTOCOLS 2.2:
/// the provider's key is `UUIDv5` of saga and step).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2a52_7f0d_4c55_9a7e_21c8_0b5d_e3a4);

/// The key under which the provider knows the payment of `order`: that of its authorisation, for every call.
pub(super) fn provider_key(order: Uuid) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("saga-{order}#authorize").as_bytes())
}

/// The provider's operations by order: by the keys of the payments' effects, and by the authorisation's key, which a void
/// uses even when nothing was ever authorised.
fn provider<'w>(finding: &mut Finding, world: &'w World, stories: &BTreeMap<Uuid, Story<'_>>) -> HashMap<Uuid, Vec<&'w Operation>> {
    let mut owners: HashMap<Uuid, Uuid> = stories.keys().map(|order| (provider_key(*order), *order)).collect();
    owners.extend(
        world
            .payments
            .effects
            .iter()
            .filter_map(|effect| Some((effect.key, Uuid::parse_str(effect.stream.strip_prefix("payment-")?).ok()?))),
    );
    let mut operations: HashMap<Uuid, Vec<&Operation>> = HashMap::new();
    for operation in &world.operations {
        let owner = owners.get(&operation.auth_key).copied();
        finding.check(owner.is_some(), || [operation.auth_key.to_string()], || "provider operation that no payment asked for".into());
        if let Some(order) = owner {
            operations.entry(order).or_default().push(operation);
        }
    }
    operations
}

/// The ledger by order and version, and by order and account.
struct Ledger<'w> {
    moved: HashMap<(Uuid, i64), i128>,
    balances: HashMap<Uuid, HashMap<(&'w str, &'w str), i128>>,
}

impl<'w> Ledger<'w> {
    /// Reads it and checks that each entry balances.
    fn read(finding: &mut Finding, world: &'w World) -> Self {
        let mut sums: BTreeMap<(Uuid, i64, &str), i128> = BTreeMap::new();
        let mut ledger = Self { moved: HashMap::new(), balances: HashMap::new() };
        for row in &world.payments.ledger {
            let amount = i128::from(row.amount_minor);
            *sums.entry((row.order, row.version, &row.currency)).or_default() += amount;
            *ledger.moved.entry((row.order, row.version)).or_default() += amount.max(0);
            *ledger.balances.entry(row.order).or_default().entry((&row.account, &row.currency)).or_default() += amount;
        }
        for ((order, version, currency), sum) in sums {
            finding.check(
                sum == 0,
                || [order.to_string(), version.to_string()],
                || format!("ledger entry does not balance: {sum} {currency}"),
            );
        }
        ledger
    }

    /// What the payment's accounts still hold: captured − refunded, whatever the accounts are called.
    fn balance(&self, order: Uuid) -> i128 {
        self.balances.get(&order).map_or(0, |accounts| accounts.values().map(|sum| (*sum).max(0)).sum())
    }

    /// Every capture and refund on the topic is booked with its amount.
    fn books(&self, finding: &mut Finding, story: &Story<'_>) {
        for record in &story.records {
            let (Body::PaymentCaptured { order, amount } | Body::PaymentRefunded { order, amount }) = &record.body else { continue };
            let Money { minor, .. } = amount;
            let booked = record.headers.version.and_then(|version| self.moved.get(&(*order, version))).copied();
            finding.check(
                booked == Some(i128::from(*minor)),
                || [order.to_string(), record.id()],
                || format!("ledger books {booked:?} for {minor} at {}", record.place()),
            );
        }
    }
}
