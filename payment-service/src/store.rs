//! Everything SQL: payments and the ledger, projected in the unit that publishes the events.

use std::collections::{BTreeMap, HashMap};

use kafka::Work;
use payment_domain::{Effects, Entry, Payment};
use sqlx::PgConnection;
use uuid::Uuid;
use values::Money;

/// What must hold between our own tables; each statement counts what does not.
pub(crate) const CONSERVED: &[(&str, &str)] = &[
    (
        "every booking adds up to zero",
        "SELECT count(*) FROM (SELECT 1 FROM ledger GROUP BY order_id, version HAVING sum(amount_minor) <> 0) AS broken",
    ),
    (
        "payments say what the ledger says",
        "SELECT count(*) FROM payments p
         LEFT JOIN (SELECT order_id, coalesce(sum(amount_minor) FILTER (WHERE account = 'captured'), 0) AS captured,
                           coalesce(sum(amount_minor) FILTER (WHERE account = 'authorized'), 0) AS authorized
                    FROM ledger GROUP BY order_id) AS l ON l.order_id = p.order_id
         WHERE coalesce(l.captured, 0) <> p.captured_minor - p.refunded_minor
            OR coalesce(l.authorized, 0) <> CASE WHEN p.state = 'authorized' THEN p.authorized_minor ELSE 0 END",
    ),
];

/// ISO 4217: no currency is involved.
const NO_CURRENCY: &str = "XXX";

/// What one unit of work leaves to write, and what its decisions must remember of each other.
#[derive(Debug, Default)]
pub struct Books {
    payments: BTreeMap<Uuid, Row>,
    ledger: Vec<(Uuid, i64, Entry)>,
    effects: HashMap<Uuid, Effects>,
}

#[derive(Debug)]
struct Row {
    state: &'static str,
    authorized: Option<Money>,
    captured: Option<Money>,
    refunded: Option<Money>,
}

impl Books {
    /// Projects the payment's state.
    pub(crate) fn project(&mut self, order: Uuid, payment: &Payment) {
        let row = |state, authorized, captured, refunded| Row { state, authorized, captured, refunded };
        let row = match payment {
            // A capture died before anything was set aside: there is no payment to show yet.
            Payment::None | Payment::CaptureFailed { amount: None, .. } => return,
            Payment::Authorized { amount } | Payment::CaptureFailed { amount: Some(amount), .. } => {
                row("authorized", Some(*amount), None, None)
            }
            Payment::Declined { .. } => row("declined", None, None, None),
            Payment::Captured { authorized, captured } => row("captured", Some(*authorized), Some(*captured), None),
            Payment::Voided { authorized } => row("voided", *authorized, None, None),
            Payment::Refunded { authorized, captured } => row("refunded", Some(*authorized), Some(*captured), Some(*captured)),
        };
        self.payments.insert(order, row);
    }

    /// Books what the event at `version` of the payment's stream moved.
    pub(crate) fn book(&mut self, order: Uuid, version: i64, entries: &[Entry]) {
        self.ledger.extend(entries.iter().map(|entry| (order, version, *entry)));
    }

    /// Remembers what is asked of the provider for a payment, for later decisions in the same unit.
    pub(crate) fn remember(&mut self, order: Uuid, effects: Effects) {
        self.effects.insert(order, effects);
    }

    /// What earlier decisions of this unit remembered.
    pub(crate) fn remembered(&self, order: Uuid) -> Option<Effects> {
        self.effects.get(&order).copied()
    }
}

impl Work for Books {
    type Needs = ();

    async fn load(&mut self, _: &mut PgConnection, (): ()) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn store(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        store_books(self, db).await
    }
}

/// Payments and ledger, in one statement.
async fn store_books(books: &Books, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    if books.payments.is_empty() {
        return Ok(());
    }
    let minor = |money: Option<Money>| money.map_or(0, |money| money.minor());
    let currency = |row: &Row| row.authorized.map_or_else(|| NO_CURRENCY.to_owned(), |money| money.currency().to_string());
    let rows = || books.payments.values();
    let ledger = || books.ledger.iter();
    sqlx::query(
        "WITH paid AS (
             INSERT INTO payments (order_id, state, authorized_minor, captured_minor, refunded_minor, currency)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
                 AS p (order_id, state, authorized_minor, captured_minor, refunded_minor, currency) ORDER BY order_id
             ON CONFLICT (order_id) DO UPDATE
             SET state = excluded.state, authorized_minor = excluded.authorized_minor, captured_minor = excluded.captured_minor,
                 refunded_minor = excluded.refunded_minor, currency = excluded.currency)
         INSERT INTO ledger (order_id, version, account, amount_minor, currency)
         SELECT * FROM unnest($7::uuid[], $8::bigint[], $9::text[], $10::bigint[], $11::text[])",
    )
    .bind(books.payments.keys().copied().collect::<Vec<_>>())
    .bind(rows().map(|row| row.state).collect::<Vec<_>>())
    .bind(rows().map(|row| minor(row.authorized)).collect::<Vec<_>>())
    .bind(rows().map(|row| minor(row.captured)).collect::<Vec<_>>())
    .bind(rows().map(|row| minor(row.refunded)).collect::<Vec<_>>())
    .bind(rows().map(currency).collect::<Vec<_>>())
    .bind(ledger().map(|(order, _, _)| *order).collect::<Vec<_>>())
    .bind(ledger().map(|(_, version, _)| *version).collect::<Vec<_>>())
    .bind(ledger().map(|(_, _, entry)| entry.account.as_str()).collect::<Vec<_>>())
    .bind(ledger().map(|(_, _, entry)| entry.amount.minor()).collect::<Vec<_>>())
    .bind(ledger().map(|(_, _, entry)| entry.amount.currency().to_string()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
