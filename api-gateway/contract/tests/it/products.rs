use contract::{Code, NewProducts, PricesQuery, RequestHash, StockReceipts, parse};

use crate::{assert_fault, faults, refusal};

const GOOD: &str = r#"{"sku":"A","name":"Milk","category":"DAIRY","brand":"","price":{"minor":199,"currency":"USD"},"stock":95}"#;

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    format!("[{}]", GOOD.replace(from, to))
}

#[test]
fn a_bare_list_and_an_enveloped_one_say_the_same() {
    let bare: NewProducts = parse(format!("[{GOOD}]").as_bytes()).unwrap();
    let enveloped: NewProducts = parse(format!(r#"{{"products":[{GOOD}]}}"#).as_bytes()).unwrap();
    assert_eq!(bare, enveloped);
    assert_eq!(RequestHash::of(&bare), RequestHash::of(&enveloped));
    assert_eq!(serde_json::to_string(&bare).unwrap(), format!("[{GOOD}]"));
    assert_fault::<NewProducts>(r#"{"products":[{}]}"#, Code::MissingField, "/products/0/sku");
    assert_fault::<NewProducts>("[{}]", Code::MissingField, "/0/sku");
    assert_fault::<NewProducts>("{}", Code::MissingField, "/products");
    assert_fault::<NewProducts>(r#"{"products":[],"more":1}"#, Code::UnknownField, "/more");
    assert_fault::<NewProducts>(r#""list""#, Code::WrongType, "");
}

#[test]
fn products_keep_their_rules() {
    for (body, code, pointer) in [
        (with(r#""A""#, r#""?""#), Code::InvalidSku, "/0/sku"),
        (with("199", "0"), Code::PriceOutOfRange, "/0/price/minor"),
        (with("199", "-5"), Code::PriceOutOfRange, "/0/price/minor"),
        (with("199", "1000000001"), Code::PriceOutOfRange, "/0/price/minor"),
        (with("199", "1.99"), Code::WrongType, "/0/price/minor"),
        (with("USD", "usd"), Code::InvalidCurrency, "/0/price/currency"),
        (with("USD", "US"), Code::InvalidCurrency, "/0/price/currency"),
        (with(r#"{"minor":199,"currency":"USD"}"#, "199"), Code::WrongType, "/0/price"),
        (with("95", "-1"), Code::StockOutOfRange, "/0/stock"),
        (with("95", "1000000001"), Code::StockOutOfRange, "/0/stock"),
        (with("Milk", &"m".repeat(201)), Code::InvalidText, "/0/name"),
        (with("Milk", r"Mi\u0000lk"), Code::InvalidText, "/0/name"),
        (with("DAIRY", &"m".repeat(101)), Code::InvalidText, "/0/category"),
        (with(r#""brand":"""#, r#""brand":null"#), Code::WrongType, "/0/brand"),
        (with(r#""stock":95"#, r#""stock":95,"weight":1"#), Code::UnknownField, "/0/weight"),
        (format!("[{GOOD},{GOOD}]"), Code::DuplicateSku, "/1/sku"),
        ("[]".to_owned(), Code::EmptyList, ""),
    ] {
        assert_fault::<NewProducts>(&body, code, pointer);
    }
    for body in [with("199", "1"), with("199", "1000000000"), with("95", "0"), with("Milk", &"é".repeat(200)), with("Milk", "")] {
        parse::<NewProducts>(body.as_bytes()).unwrap();
    }
}

#[test]
fn a_list_has_at_most_1_000_entries() {
    let products = |count: usize| {
        let all = (0..count).map(|index| GOOD.replace(r#""A""#, &format!(r#""S{index}""#)));
        format!("[{}]", all.collect::<Vec<_>>().join(","))
    };
    assert_eq!(parse::<NewProducts>(products(1_000).as_bytes()).unwrap().products.len(), 1_000);
    assert_fault::<NewProducts>(&products(1_001), Code::TooManyItems, "");
    assert_fault::<NewProducts>(&products(3_000), Code::TooManyItems, "");
    // Values that take far more memory than text are counted, wherever they stand.
    let row = format!("[{}]", ["0"; 1_500].join(","));
    assert_eq!(refusal::<NewProducts>(&format!("[{}]", vec![row; 100].join(","))).code(), Code::MalformedJson);
}

#[test]
fn receipts_keep_their_rules() {
    let receipts: StockReceipts = parse(br#"[{"sku":"A","units":5},{"sku":"B","units":1000000000}]"#).unwrap();
    assert_eq!(receipts.receipts[0].units, 5);
    for (body, code, pointer) in [
        (r#"[{"sku":"A","units":0}]"#, Code::StockOutOfRange, "/0/units"),
        (r#"[{"sku":"A","units":-3}]"#, Code::StockOutOfRange, "/0/units"),
        (r#"[{"sku":"A","units":1e2}]"#, Code::WrongType, "/0/units"),
        (r#"[{"sku":"A","units":1},{"sku":"A","units":1}]"#, Code::DuplicateSku, "/1/sku"),
        (r#"{"sku":"A","units":1}"#, Code::WrongType, ""),
        (r#"[{"sku":"A","quantity":1}]"#, Code::UnknownField, "/0/quantity"),
        ("[]", Code::EmptyList, ""),
    ] {
        assert_fault::<StockReceipts>(body, code, pointer);
    }
    let two = faults::<StockReceipts>(r#"[{"sku":"","units":0}]"#);
    assert_eq!(two.len(), 2);
}

#[test]
fn skus_can_be_asked_for() {
    let query: PricesQuery = parse(br#"{"skus":["A","B"]}"#).unwrap();
    assert_eq!(serde_json::to_string(&query).unwrap(), r#"{"skus":["A","B"]}"#);
    assert_fault::<PricesQuery>(r#"{"skus":["A",1]}"#, Code::WrongType, "/skus/1");
    assert_fault::<PricesQuery>(r#"{"skus":["A","A"]}"#, Code::DuplicateSku, "/skus/1");
}
