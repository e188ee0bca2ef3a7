use contract::{Body, Code, NewProducts, PlaceOrder, PricesQuery, Problem, RequestHash, StockReceipts, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON, with names and texts that our bodies use, so that decoding gets past the first member.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("lines"),
        Just("sku"),
        Just("quantity"),
        Just("payment"),
        Just("token"),
        Just("products"),
        Just("price"),
        Just("minor"),
        Just("currency"),
        Just("stock"),
        Just("units"),
        Just("name"),
        Just("category"),
        Just("brand"),
        Just("skus"),
        Just("x/~"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("tok_ok")),
        Just(json!("USD")),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn a_good_order() -> impl Strategy<Value = Value> {
    let lines = prop::collection::hash_map("[A-Za-z0-9._-]{1,64}", 1..=1_000_000_u32, 1..200);
    (lines, "tok_[a-z0-9_]{1,60}").prop_map(|(lines, token)| {
        let lines: Vec<Value> = lines.into_iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
        json!({"lines": lines, "payment": {"token": token}})
    })
}

fn a_good_list_of_products() -> impl Strategy<Value = Value> {
    let product = ("[^\\p{Cc}]{0,200}", "[^\\p{Cc}]{0,100}", 1..=1_000_000_000_i64, "[A-Z]{3}", 0..=1_000_000_000_u32);
    prop::collection::hash_map("[A-Za-z0-9._-]{1,64}", product, 1..8).prop_map(|products| {
        let products = products.into_iter().map(|(sku, (name, label, minor, currency, stock))| {
            json!({"sku": sku, "name": name, "category": label, "brand": label, "price": {"minor": minor, "currency": currency}, "stock": stock})
        });
        Value::from(products.collect::<Vec<_>>())
    })
}

/// A refusal has a status of its own fault, and pointers that lead to places that exist, or one below them.
fn check_refusal(problem: &Problem, body: Option<&Value>) -> Result<(), TestCaseError> {
    prop_assert!((400..500).contains(&problem.code().status()), "{problem}");
    prop_assert!(Code::ALL.contains(&problem.code()));
    prop_assert!(problem.faults().first().is_some_and(|fault| fault.code == problem.code()), "{problem}");
    let Some(body) = body else { return Ok(()) };
    for fault in problem.faults() {
        let place = fault.pointer.as_str();
        let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
        let missing = fault.code == Code::MissingField;
        prop_assert!(body.pointer(if missing { parent } else { place }).is_some(), "{problem} in {body}");
    }
    Ok(())
}

fn check_all(bytes: &[u8], body: Option<&Value>) -> Result<(), TestCaseError> {
    for result in [
        parse::<PlaceOrder>(bytes).map(drop),
        parse::<NewProducts>(bytes).map(drop),
        parse::<StockReceipts>(bytes).map(drop),
        parse::<PricesQuery>(bytes).map(drop),
    ] {
        if let Err(problem) = result {
            check_refusal(&problem, body)?;
        }
    }
    Ok(())
}

fn round_trips<T: Body + serde::Serialize + PartialEq + std::fmt::Debug>(body: &Value) -> Result<(), TestCaseError> {
    let first: T = parse(body.to_string().as_bytes()).map_err(|problem| TestCaseError::fail(problem.to_string()))?;
    let pretty = serde_json::to_vec_pretty(&first).unwrap();
    let again: T = parse(&pretty).map_err(|problem| TestCaseError::fail(problem.to_string()))?;
    prop_assert_eq!(RequestHash::of(&first), RequestHash::of(&again));
    prop_assert_eq!(first, again);
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_panic_and_every_refusal_has_a_code(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check_all(&bytes, None)?;
    }

    #[test]
    fn any_json_is_accepted_or_refused_with_a_place_in_it(body in any_json()) {
        check_all(body.to_string().as_bytes(), Some(&body))?;
    }

    #[test]
    fn a_good_order_round_trips(body in a_good_order()) {
        round_trips::<PlaceOrder>(&body)?;
    }

    #[test]
    fn a_good_list_of_products_round_trips(body in a_good_list_of_products()) {
        round_trips::<NewProducts>(&body)?;
    }

    #[test]
    fn a_cut_or_damaged_order_is_refused(body in a_good_order(), at: prop::sample::Index, byte: u8) {
        let mut bytes = body.to_string().into_bytes();
        let index = at.index(bytes.len());
        check_refusal(&parse::<PlaceOrder>(&bytes[..index]).unwrap_err(), None)?;
        bytes[index] = byte;
        // One byte may change a text into another valid one; then it is another order, or the same.
        check_all(&bytes, None)?;
    }
}
