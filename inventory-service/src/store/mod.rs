//! Everything SQL: the rows of a unit of work, the catalogue's pages, answered requests. Functions take a connection;
//! only callers open and commit.

pub(crate) mod catalogue;
mod rebuilt;
pub(crate) mod requests;

use std::collections::{BTreeMap, BTreeSet};

use inventory_domain::hold::Event;
use inventory_domain::product::Entry;
use inventory_domain::{Change, Stock, Units};
use kafka::{Failure, Work};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;
use values::{Money, Quantity, Sku};

pub(crate) use rebuilt::CONSERVED;
use rebuilt::Rebuilt;

/// What a unit needs loaded and locked: the SKU rows of `skus`, and of the lines held by the orders in `held_by`.
#[derive(Debug, Default)]
pub struct Wants {
    pub(crate) skus: BTreeSet<String>,
    pub(crate) held_by: BTreeSet<Uuid>,
}

/// One SKU row in memory.
#[derive(Debug, Clone, Copy)]
struct Shelf {
    stock: Stock,
    /// Not in the table yet.
    new: bool,
    changed: bool,
}

/// The rows of one unit of work: SKU rows as the decisions so far leave them, and what to write of the projections.
#[derive(Debug, Default)]
pub struct Rows {
    shelves: BTreeMap<Sku, Shelf>,
    holds: BTreeMap<Uuid, &'static str>,
    hold_lines: Vec<(Uuid, Sku, Quantity)>,
    demand: BTreeMap<Sku, i64>,
    products: BTreeMap<Sku, Entry>,
    rebuilt: Rebuilt,
}

impl Rows {
    /// Units of `sku` that a new hold may take; none of a product we do not have.
    pub(crate) fn available(&self, sku: &Sku) -> Units {
        self.shelves.get(sku).map_or(Units::ZERO, |shelf| shelf.stock.available)
    }

    /// Applies what an event does to its SKU row.
    ///
    /// # Errors
    /// Permanent: the row was not asked for, or a decision overdrew it. Both are defects.
    pub(crate) fn change(&mut self, change: &Change) -> Result<(), Failure> {
        let missing = || Failure::permanent("stock_not_loaded", format!("stock of sku {} is changed but was not asked for", change.sku));
        let shelf = self.shelves.get_mut(&change.sku).ok_or_else(missing)?;
        shelf.stock = shelf.stock.changed(change).map_err(|overdrawn| Failure::permanent("stock_overdrawn", overdrawn.to_string()))?;
        shelf.changed = true;
        Ok(())
    }

    /// Projects an event of an order's hold.
    pub(crate) fn hold(&mut self, order: Uuid, event: &Event) {
        let state = match event {
            Event::Reserved { lines } => {
                self.hold_lines.extend(lines.iter().map(|line| (order, line.sku.clone(), line.quantity)));
                "held"
            }
            Event::Rejected { .. } => "rejected",
            Event::Committed => "committed",
            Event::Released { .. } => "released",
            Event::StepFailed { .. } => return,
        };
        self.holds.insert(order, state);
    }

    /// Counts units asked for.
    pub(crate) fn demand(&mut self, sku: Sku, quantity: Quantity) {
        let units = self.demand.entry(sku).or_default();
        *units = units.saturating_add(quantity.units());
    }

    /// Projects a catalogue entry; a product that is new gets an empty SKU row.
    pub(crate) fn list(&mut self, sku: &Sku, entry: Entry) {
        self.shelves.entry(sku.clone()).or_insert(Shelf { stock: Stock::default(), new: true, changed: true });
        self.products.insert(sku.clone(), entry);
    }
}

/// The SKU rows of a batch, locked in SKU order. The lines that an order holds are found by the order: releases name no SKU.
pub(crate) const LOCK_STOCK: &str = "WITH wanted AS (
         SELECT unnest($1::text[]) AS sku
         UNION SELECT l.sku FROM hold_lines l WHERE l.order_id = ANY($2::uuid[]))
     SELECT s.sku, s.received, s.available FROM stock s WHERE s.sku IN (SELECT sku FROM wanted) ORDER BY s.sku FOR UPDATE OF s";

impl Work for Rows {
    type Needs = Wants;

    async fn load(&mut self, db: &mut PgConnection, wants: Wants) -> Result<(), sqlx::Error> {
        if wants.skus.is_empty() && wants.held_by.is_empty() {
            return Ok(());
        }
        // One statement, so that every writer takes the rows in the same order.
        let rows = sqlx::query(LOCK_STOCK)
            .bind(wants.skus.into_iter().collect::<Vec<_>>())
            .bind(wants.held_by.into_iter().collect::<Vec<_>>())
            .fetch_all(db)
            .await?;
        for row in rows {
            let sku: String = row.try_get("sku")?;
            let sku = Sku::try_from(sku.as_str()).map_err(|error| decode(&sku, &error))?;
            let units = |column| Units::try_from(row.try_get::<i64, _>(column)?).map_err(|error| decode(sku.as_ref(), &error));
            let stock = Stock { received: units("received")?, available: units("available")? };
            self.shelves.insert(sku, Shelf { stock, new: false, changed: false });
        }
        Ok(())
    }

    async fn store(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        store_products(self, db).await?;
        store_holds(self, db).await?;
        rebuilt::store(&self.rebuilt, db).await
    }
}

fn decode(sku: &str, error: &dyn std::error::Error) -> sqlx::Error {
    sqlx::Error::Decode(format!("stock of sku {sku}: {error}").into())
}

/// Catalogue entries, and the SKU rows of products that are new.
async fn store_products(rows: &mut Rows, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    if rows.products.is_empty() {
        return Ok(());
    }
    let (skus, entries): (Vec<&str>, Vec<&Entry>) = rows.products.iter().map(|(sku, entry)| (sku.as_ref(), entry)).unzip();
    let new: Vec<(&Sku, &Shelf)> = rows.shelves.iter().filter(|(_, shelf)| shelf.new).collect();
    sqlx::query(
        "WITH listed AS (
             INSERT INTO products (sku, name, category, brand, price_minor, currency)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
                 AS p (sku, name, category, brand, price_minor, currency) ORDER BY sku
             ON CONFLICT (sku) DO UPDATE
             SET name = excluded.name, category = excluded.category, brand = excluded.brand,
                 price_minor = excluded.price_minor, currency = excluded.currency)
         INSERT INTO stock (sku, received, available)
         SELECT * FROM unnest($7::text[], $8::bigint[], $9::bigint[]) AS s (sku, received, available) ORDER BY sku",
    )
    .bind(skus)
    .bind(entries.iter().map(|entry| entry.name.as_ref()).collect::<Vec<&str>>())
    .bind(entries.iter().map(|entry| entry.category.as_ref()).collect::<Vec<&str>>())
    .bind(entries.iter().map(|entry| entry.brand.as_ref()).collect::<Vec<&str>>())
    .bind(entries.iter().map(|entry| entry.price.minor()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| currency(entry.price)).collect::<Vec<_>>())
    .bind(new.iter().map(|(sku, _)| AsRef::<str>::as_ref(*sku)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, shelf)| shelf.stock.received.get()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, shelf)| shelf.stock.available.get()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn currency(money: Money) -> String {
    money.currency().to_string()
}

/// SKU rows that changed, holds, their lines and demand, in one statement.
async fn store_holds(rows: &mut Rows, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let changed: Vec<(&str, Stock)> =
        rows.shelves.iter().filter(|(_, shelf)| shelf.changed && !shelf.new).map(|(sku, shelf)| (sku.as_ref(), shelf.stock)).collect();
    if changed.is_empty() && rows.holds.is_empty() && rows.demand.is_empty() {
        return Ok(());
    }
    let lines = &rows.hold_lines;
    let written: i64 = sqlx::query_scalar(
        "WITH shelved AS (
             UPDATE stock s SET received = r.received, available = r.available
             FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS r (sku, received, available) WHERE s.sku = r.sku RETURNING 1),
         held AS (
             INSERT INTO holds (order_id, state) SELECT * FROM unnest($4::uuid[], $5::text[]) AS h (order_id, state) ORDER BY order_id
             ON CONFLICT (order_id) DO UPDATE SET state = excluded.state),
         lines AS (
             INSERT INTO hold_lines (order_id, sku, quantity) SELECT * FROM unnest($6::uuid[], $7::text[], $8::bigint[])),
         asked AS (
             INSERT INTO demand (sku, units) SELECT * FROM unnest($9::text[], $10::bigint[]) AS d (sku, units) ORDER BY sku
             ON CONFLICT (sku) DO UPDATE SET units = demand.units + excluded.units)
         SELECT count(*) FROM shelved",
    )
    .bind(changed.iter().map(|(sku, _)| *sku).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, stock)| stock.received.get()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, stock)| stock.available.get()).collect::<Vec<_>>())
    .bind(rows.holds.keys().copied().collect::<Vec<_>>())
    .bind(rows.holds.values().copied().collect::<Vec<&str>>())
    .bind(lines.iter().map(|(order, _, _)| *order).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, sku, _)| sku.as_ref()).collect::<Vec<&str>>())
    .bind(lines.iter().map(|(_, _, quantity)| quantity.units()).collect::<Vec<_>>())
    .bind(rows.demand.keys().map(AsRef::as_ref).collect::<Vec<&str>>())
    .bind(rows.demand.values().copied().collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    // The rows are locked, so every one of them is there.
    if usize::try_from(written) == Ok(changed.len()) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
