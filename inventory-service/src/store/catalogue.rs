//! Pages of the catalogue with what is available.

use contract::{Category, Product};
use sqlx::postgres::PgPool;
use sqlx::{Row as _, postgres::PgRow};
use values::{Money, Sku};

/// What the products of a page have in common; what is not given is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Search {
    /// Stands in the name, brand or category, in any case.
    pub(crate) text: Option<String>,
    pub(crate) category: Option<String>,
    /// In minor units.
    pub(crate) price_min: Option<i64>,
    pub(crate) price_max: Option<i64>,
}

/// At most `limit` products that `search` finds after the SKU `after`, in SKU order.
///
/// # Errors
/// The database does not answer, or holds what is no product.
pub(crate) async fn page(pool: &PgPool, search: &Search, after: &str, limit: i64) -> Result<Vec<Product>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT p.sku, p.name, p.category, p.brand, p.price_minor, p.currency, s.available
         FROM products p JOIN stock s ON s.sku = p.sku
         WHERE p.sku > $1
           AND ($3::text IS NULL OR p.category = $3)
           AND ($4::bigint IS NULL OR p.price_minor >= $4)
           AND ($5::bigint IS NULL OR p.price_minor <= $5)
           AND ($6::text IS NULL OR strpos(lower(concat_ws(E'\n', p.name, p.brand, p.category)), lower($6)) > 0)
         ORDER BY p.sku LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .bind(search.category.as_deref())
    .bind(search.price_min)
    .bind(search.price_max)
    .bind(search.text.as_deref())
    .fetch_all(pool)
    .await?;
    rows.iter().map(product).collect()
}

/// The `limit` categories with the most products, by name.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn categories(pool: &PgPool, limit: i64) -> Result<Vec<Category>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT name, products FROM (
             SELECT category AS name, count(*) AS products FROM products GROUP BY category ORDER BY count(*) DESC, category LIMIT $1
         ) AS largest ORDER BY name",
    )
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let category = |row: &PgRow| {
        let products: i64 = row.try_get("products")?;
        Ok(Category { name: row.try_get("name")?, products: u64::try_from(products).unwrap_or_default() })
    };
    rows.iter().map(category).collect()
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
