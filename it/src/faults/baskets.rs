//! What the load buys: real shopping baskets, dirty ones included, over and over.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

/// Stock is so many times what was sold in the month: most orders go through, some come up short.
const STOCK_TIMES: u64 = 20;

/// One basket.
#[derive(Debug, Clone)]
pub struct Basket {
    /// Who buys.
    pub household: String,
    /// SKU and quantity, as they came.
    pub lines: Vec<(String, u64)>,
}

/// Baskets and the products they buy.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Bodies of `POST /v1/products`, one a product, of those that the baskets name.
    pub products: Vec<Value>,
    /// In time order.
    pub baskets: Vec<Basket>,
}

#[derive(Deserialize)]
struct ProductRow {
    sku: String,
    category: String,
    brand: String,
    #[serde(rename = "type")]
    kind: String,
    list_price_minor: i64,
    sold_january: u64,
}

#[derive(Deserialize)]
struct LineRow {
    basket: String,
    household: String,
    sku: String,
    quantity: u64,
}

fn rows<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("open {} (name another folder with --data)", path.display()))?;
    GzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("unpack {}", path.display()))?;
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().with_context(|| format!("parse {}", path.display()))
}

impl Shop {
    /// Reads at most `baskets_max` baskets of a folder with `products.csv.gz` and `baskets*.csv.gz`; without one, of the slice
    /// beside the bench.
    ///
    /// # Errors
    /// A file is missing or has another shape.
    pub fn read(folder: Option<&Path>, baskets_max: usize) -> anyhow::Result<Self> {
        let folder = folder.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/data"), PathBuf::from);
        let listed = std::fs::read_dir(&folder).with_context(|| format!("list {} (name another folder with --data)", folder.display()))?;
        let mut names: Vec<PathBuf> = listed.filter_map(Result::ok).map(|entry| entry.path()).collect();
        names.sort();
        let is_baskets = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("baskets"));
        let file = names.iter().find(is_baskets).with_context(|| format!("there is no baskets*.csv.gz in {}", folder.display()))?;
        let mut baskets: Vec<(String, Basket)> = Vec::new();
        for row in rows::<LineRow>(file)? {
            let full = baskets.len() == baskets_max;
            match baskets.last_mut() {
                Some((basket, last)) if *basket == row.basket => last.lines.push((row.sku, row.quantity)),
                _ if full => break,
                _ => baskets.push((row.basket, Basket { household: row.household, lines: vec![(row.sku, row.quantity)] })),
            }
        }
        let baskets: Vec<Basket> = baskets.into_iter().map(|(_, basket)| basket).collect();
        let mut wanted: HashMap<&str, ()> = HashMap::new();
        for (sku, _) in baskets.iter().flat_map(|basket| &basket.lines) {
            wanted.insert(sku, ());
        }
        let products = rows::<ProductRow>(&folder.join("products.csv.gz"))?;
        let products = products.iter().filter(|row| wanted.contains_key(row.sku.as_str())).map(product).collect();
        Ok(Self { products, baskets })
    }
}

fn product(row: &ProductRow) -> Value {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    json!({
        "sku": row.sku, "name": if row.kind.is_empty() { &row.sku } else { &row.kind },
        "category": or_none(&row.category), "brand": or_none(&row.brand),
        "price": {"minor": row.list_price_minor, "currency": "USD"},
        "stock": (row.sold_january * 95 / 100).max(1) * STOCK_TIMES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_beside_the_bench_is_whole() {
        let shop = Shop::read(None, 1_000).unwrap();
        assert_eq!((shop.baskets.len(), shop.products.len() > 1_000), (200, true));
        assert_eq!(shop.baskets.iter().map(|basket| basket.lines.len()).sum::<usize>(), 1_971);
        assert_eq!(Shop::read(None, 7).unwrap().baskets.len(), 7);
    }
}
