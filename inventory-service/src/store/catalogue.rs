//! Pages of the catalogue with what is available.

use contract::Product;
use sqlx::postgres::PgPool;
use sqlx::{Row as _, postgres::PgRow};
use values::{Money, Sku};

/// At most `limit` products after the SKU `after`, in SKU order.
///
/// # Errors
/// The database does not answer, or holds what is no product.
pub(crate) async fn page(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<Product>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT p.sku, p.name, p.category, p.brand, p.price_minor, p.currency, s.available
         FROM products p JOIN stock s ON s.sku = p.sku
         WHERE p.sku > $1 ORDER BY p.sku LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(product).collect()
}

fn product(row: &PgRow) -> Result<Product, sqlx::Error> {
    let (sku, minor, currency): (String, i64, String) = (row.try_get("sku")?, row.try_get("price_minor")?, row.try_get("currency")?);
    Ok(Product {
        price: Money::try_from((minor, currency.as_str())).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        sku: Sku::try_from(sku.as_str()).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        name: row.try_get("name")?,
        category: row.try_get("category")?,
        brand: row.try_get("brand")?,
        available: row.try_get("available")?,
    })
}
