//! The first 200 real baskets of the month, end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::client::order;
use crate::system::Shared;

type Row = BTreeMap<String, String>;
/// SKU and quantity, as they came.
type Lines = Vec<(String, u64)>;

fn rows(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/data").join(name);
    let mut text = String::new();
    GzDecoder::new(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).read_to_string(&mut text).unwrap();
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

fn product(row: &Row) -> Value {
    let sold: u64 = row["sold_january"].parse().unwrap();
    let name = if row["type"].is_empty() { &row["sku"] } else { &row["type"] };
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    json!({
        "sku": row["sku"], "name": name, "category": or_none(&row["category"]), "brand": or_none(&row["brand"]),
        "price": {"minor": row["list_price_minor"].parse::<i64>().unwrap(), "currency": "USD"},
        "stock": (sold * 95 / 100).max(1),
    })
}

#[tokio::test]
async fn two_hundred_real_baskets_all_end_and_everything_adds_up() {
    let system = Shared::enter().await;
    let shop = system.client("shop");
    let products = rows("products.csv.gz");
    shop.create_all(&products.iter().map(product).collect::<Vec<_>>()).await;
    let known: BTreeSet<&str> = products.iter().map(|row| row["sku"].as_str()).collect();

    let mut baskets: Vec<(String, String, Lines)> = Vec::new();
    for row in rows("baskets.csv.gz") {
        let line = (row["sku"].clone(), row["quantity"].parse().unwrap());
        match baskets.last_mut() {
            Some((basket, _, lines)) if *basket == row["basket"] => lines.push(line),
            _ => baskets.push((row["basket"].clone(), row["household"].clone(), vec![line])),
        }
    }
    assert_eq!(baskets.len(), 200);
    let refusable = |lines: &[(String, u64)]| lines.iter().any(|(sku, quantity)| *quantity == 0 || !known.contains(sku.as_str()));

    let placed: Vec<Option<(crate::client::Client, uuid::Uuid)>> = stream::iter(&baskets)
        .map(|(basket, household, lines)| {
            let client = shop.of(&format!("household-{household}"));
            async move {
                let lines: Vec<(&str, u64)> = lines.iter().map(|(sku, quantity)| (sku.as_str(), *quantity)).collect();
                let answer = client.place_surely(&format!("basket-{basket}"), &order(&lines, "tok_ok")).await;
                match answer.status {
                    202 => Some((client, answer.id())),
                    422 => None,
                    _ => panic!("{answer:?}"),
                }
            }
        })
        .buffered(16)
        .collect()
        .await;
    for ((basket, _, lines), placed) in baskets.iter().zip(&placed) {
        assert_eq!(placed.is_none(), refusable(lines), "basket {basket}");
    }
    assert_eq!(placed.iter().filter(|placed| placed.is_none()).count(), 11);

    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (client, id) in placed.into_iter().flatten() {
        let order = client.ended(id).await;
        let end = format!("{} {}", order["status"].as_str().unwrap(), order["reason"].as_str().unwrap_or_default());
        *ends.entry(end).or_default() += 1;
    }
    eprintln!("{ends:?}");
    let allowed: BTreeSet<&str> = ["CONFIRMED ", "CANCELLED out_of_stock"].into();
    assert!(ends.keys().all(|end| allowed.contains(end.as_str())), "{ends:?}");
    assert!(ends["CONFIRMED "] > 100, "{ends:?}");
    system.verdict().await;
}
