use contract::{CancelReason, Code, Order, OrderStatus, PlaceOrder, RequestHash, parse};

use crate::{assert_fault, faults, refusal};

fn order(lines: &str) -> String {
    format!(r#"{{"lines":[{lines}],"payment":{{"token":"tok_ok"}}}}"#)
}

fn line(sku: &str, quantity: &str) -> String {
    format!(r#"{{"sku":"{sku}","quantity":{quantity}}}"#)
}

#[test]
fn the_agreed_body_is_accepted() {
    let body = br#"{"lines":[{"sku":"1095275","quantity":2}],"payment":{"token":"tok_ok"}}"#;
    let order: PlaceOrder = parse(body).unwrap();
    assert_eq!(order.lines.len(), 1);
    assert_eq!(order.lines[0].sku.as_str(), "1095275");
    assert_eq!(order.lines[0].quantity.get(), 2);
    assert_eq!(order.payment.token.reveal(), "tok_ok");
    assert_eq!(serde_json::to_vec(&order).unwrap(), body);
}

#[test]
fn the_token_does_not_print() {
    let order: PlaceOrder = parse(order(&line("A", "1")).as_bytes()).unwrap();
    assert!(!format!("{order:?}").contains("tok_ok"));
}

#[test]
fn what_is_not_json_is_refused_with_the_last_place_that_was_read() {
    for (body, pointer) in [
        ("", ""),
        ("   ", ""),
        ("{", ""),
        ("nope", ""),
        ("\u{feff}{}", ""),
        (r#"{"lines":[{"sku":"A","quantity":}],"payment":{"token":"tok_ok"}}"#, "/lines/0/quantity"),
        (r#"{"lines":[{"sku":"A","quantity":01}]}"#, "/lines/0/quantity"),
        (r#"{"lines":[{"sku":"A","quantity":1e999}]}"#, "/lines/0/quantity"),
        (r#"{"lines":[{"sku":"A","quantity":NaN}]}"#, "/lines/0/quantity"),
        (r#"{"lines":[{"sku":"A","quantity":1},],"payment":{"token":"tok_ok"}}"#, "/lines/1"),
        (r#"{"lines":[{"sku":"\ud800","quantity":1}]}"#, "/lines/0/sku"),
        (r#"{"lines":[],"payment":{"token":"tok_ok"}} x"#, ""),
    ] {
        assert_fault::<PlaceOrder>(body, Code::MalformedJson, pointer);
    }
    let not_utf8 = b"{\"lines\":[{\"sku\":\"\xff\",\"quantity\":1}]}";
    let problem = parse::<PlaceOrder>(not_utf8).unwrap_err();
    assert_eq!(problem.code(), Code::MalformedJson);
    assert_eq!(problem.faults()[0].pointer.as_str(), "/lines/0/sku");
}

#[test]
fn what_is_too_deep_or_too_wide_is_refused() {
    let deep = |levels: usize| order(&format!(r#"{{"sku":{}{},"quantity":1}}"#, "[".repeat(levels), "]".repeat(levels)));
    assert_eq!(refusal::<PlaceOrder>(&deep(100)).code(), Code::MalformedJson);
    assert_eq!(refusal::<PlaceOrder>(&deep(20_000)).code(), Code::MalformedJson);
    assert_eq!(refusal::<PlaceOrder>(&deep(3)).code(), Code::WrongType);
    let wide: Vec<String> = (0..40).map(|index| format!(r#""f{index}":1"#)).collect();
    assert_fault::<PlaceOrder>(&format!("{{{}}}", wide.join(",")), Code::MalformedJson, "");
}

#[test]
fn every_member_has_its_name_its_place_and_its_type() {
    let good = line("A", "1");
    for (body, code, pointer) in [
        ("[]", Code::WrongType, ""),
        ("null", Code::WrongType, ""),
        ("{}", Code::MissingField, "/lines"),
        (r#"{"lines":[]}"#, Code::MissingField, "/payment"),
        (r#"{"lines":null,"payment":{"token":"tok_ok"}}"#, Code::WrongType, "/lines"),
        (r#"{"lines":{},"payment":{"token":"tok_ok"}}"#, Code::WrongType, "/lines"),
        (&order("1"), Code::WrongType, "/lines/0"),
        (&order(r#"["A",1]"#), Code::WrongType, "/lines/0"),
        (&order(r#"{"sku":"A"}"#), Code::MissingField, "/lines/0/quantity"),
        (&order(r#"{"quantity":1}"#), Code::MissingField, "/lines/0/sku"),
        (&order(&line("A", r#""1""#)), Code::WrongType, "/lines/0/quantity"),
        (&order(&line("A", "null")), Code::WrongType, "/lines/0/quantity"),
        (&order(&line("A", "true")), Code::WrongType, "/lines/0/quantity"),
        (&order(&line("A", "1.5")), Code::WrongType, "/lines/0/quantity"),
        (&order(&line("A", "1.0")), Code::WrongType, "/lines/0/quantity"),
        (&order(&line("A", "1e3")), Code::WrongType, "/lines/0/quantity"),
        (&order(r#"{"sku":1,"quantity":1}"#), Code::WrongType, "/lines/0/sku"),
        (&order(&format!(r#"{good},{{"sku":"B","quantity":1,"price":5}}"#)), Code::UnknownField, "/lines/1/price"),
        (&order(r#"{"sku":"A","quantity":1,"quantity":2}"#), Code::DuplicateField, "/lines/0/quantity"),
        (r#"{"lines":[],"payment":{"token":"tok_ok"},"customer":"c"}"#, Code::UnknownField, "/customer"),
        (r#"{"lines":[],"payment":{"token":"tok_ok","card":"4111"}}"#, Code::UnknownField, "/payment/card"),
        (r#"{"lines":[],"payment":{}}"#, Code::MissingField, "/payment/token"),
        (r#"{"lines":[],"payment":{"token":7}}"#, Code::WrongType, "/payment/token"),
        (r#"{"lines":[],"payment":"tok_ok"}"#, Code::WrongType, "/payment"),
    ] {
        assert_fault::<PlaceOrder>(body, code, pointer);
    }
}

#[test]
fn a_refusal_does_not_repeat_values() {
    let problem = refusal::<PlaceOrder>(r#"{"lines":[],"payment":{"token":["tok_secret_4111"]}}"#);
    assert!(!serde_json::to_string(&problem.document()).unwrap().contains("4111"));
    let problem = refusal::<PlaceOrder>(r#"{"lines":[],"payment":{"token":"4111-1111"}}"#);
    assert!(!serde_json::to_string(&problem.document()).unwrap().contains("4111"));
}

#[test]
fn quantities_are_1_to_1_000_000() {
    for quantity in
        ["0", "-1", "-0", "1000001", "4294967297", "9223372036854775808", "-99999999999999999999", "123456789012345678901234567890"]
    {
        let body = order(&line("A", quantity));
        // -0 is a float to the parser; refused all the same.
        let code = if quantity == "-0" { Code::WrongType } else { Code::QuantityOutOfRange };
        assert_fault::<PlaceOrder>(&body, code, "/lines/0/quantity");
    }
    for quantity in ["1", "1000000"] {
        parse::<PlaceOrder>(order(&line("A", quantity)).as_bytes()).unwrap();
    }
}

#[test]
fn an_order_has_1_to_200_lines() {
    assert_fault::<PlaceOrder>(&order(""), Code::EmptyOrder, "/lines");
    let lines = |count: usize| order(&(0..count).map(|index| line(&format!("S{index}"), "1")).collect::<Vec<_>>().join(","));
    parse::<PlaceOrder>(lines(200).as_bytes()).unwrap();
    assert_fault::<PlaceOrder>(&lines(201), Code::TooManyLines, "/lines");
    // Far more than is ever kept in memory: still the same answer.
    let empty_lines = order(&["{}"; 10_000].join(","));
    assert_eq!(refusal::<PlaceOrder>(&empty_lines).code(), Code::MissingField);
    assert_fault::<PlaceOrder>(&lines(2_100), Code::TooManyLines, "/lines");
}

#[test]
fn a_sku_stands_once_and_is_a_sku() {
    let twice = order(&[line("A", "1"), line("B", "1"), line("A", "2"), line("a", "1")].join(","));
    assert_fault::<PlaceOrder>(&twice, Code::DuplicateSku, "/lines/2/sku");
    for sku in ["", " ", "a b", "ä", "x/y", &"x".repeat(65)] {
        assert_fault::<PlaceOrder>(&order(&line(sku, "1")), Code::InvalidSku, "/lines/0/sku");
    }
    // One SKU written in two ways is the same SKU.
    let escaped = order(&[line("A", "1"), line(r"\u0041", "1")].join(","));
    assert_fault::<PlaceOrder>(&escaped, Code::DuplicateSku, "/lines/1/sku");
}

#[test]
fn a_token_is_a_token() {
    for token in ["", "tok_", "ok", "tok_A", "tok_ok ", "tok_é", &format!("tok_{}", "x".repeat(61))] {
        let body = format!(r#"{{"lines":[{}],"payment":{{"token":"{token}"}}}}"#, line("A", "1"));
        assert_fault::<PlaceOrder>(&body, Code::InvalidPaymentToken, "/payment/token");
    }
}

#[test]
fn all_faults_of_the_values_are_named_up_to_twenty() {
    let body = format!(r#"{{"lines":[{},{}],"payment":{{"token":"x"}}}}"#, line("A", "0"), line("?", "1"));
    let expected = [
        (Code::QuantityOutOfRange, "/lines/0/quantity".to_owned()),
        (Code::InvalidSku, "/lines/1/sku".to_owned()),
        (Code::InvalidPaymentToken, "/payment/token".to_owned()),
    ];
    assert_eq!(faults::<PlaceOrder>(&body), expected);
    let many: Vec<String> = (0..100).map(|index| line(&format!("S{index}"), "0")).collect();
    assert_eq!(faults::<PlaceOrder>(&order(&many.join(","))).len(), 20);
}

#[test]
fn a_body_over_its_limit_is_refused_before_it_is_read() {
    let padded = format!("{}{}", " ".repeat(64 * 1024), order(&line("A", "1")));
    assert_eq!(refusal::<PlaceOrder>(&padded).code(), Code::BodyTooLarge);
}

#[test]
fn the_hash_is_of_what_is_said_not_of_how() {
    let hash = |body: &str| RequestHash::of(&parse::<PlaceOrder>(body.as_bytes()).unwrap());
    let first = hash(r#"{"lines":[{"sku":"A","quantity":1},{"sku":"B","quantity":2}],"payment":{"token":"tok_ok"}}"#);
    let same =
        " { \"payment\" : {\"token\":\"tok_\\u006fk\"},\n \"lines\":[{\"quantity\":1,\"sku\":\"A\"},{\"sku\":\"B\",\"quantity\":2}]}";
    assert_eq!(hash(same), first);
    for other in [
        r#"{"lines":[{"sku":"B","quantity":2},{"sku":"A","quantity":1}],"payment":{"token":"tok_ok"}}"#,
        r#"{"lines":[{"sku":"A","quantity":1},{"sku":"B","quantity":3}],"payment":{"token":"tok_ok"}}"#,
        r#"{"lines":[{"sku":"A","quantity":1},{"sku":"B","quantity":2}],"payment":{"token":"tok_no"}}"#,
        r#"{"lines":[{"sku":"A","quantity":1}],"payment":{"token":"tok_ok"}}"#,
    ] {
        assert_ne!(hash(other), first, "{other}");
    }
    // Stored with every order: a change of the canonical form must show here.
    assert_eq!(hex::encode(first.as_bytes()), "ef3e4c2eccf618c9b2943332fe9f52960e02cc67f3d159e5bf64e0cc95e0d11f");
}

#[test]
fn an_order_is_answered_as_agreed() {
    let json = concat!(
        r#"{"id":"0192f0c1-2345-7abc-8def-0123456789ab","status":"CANCELLED","reason":"cancelled_by_customer","#,
        r#""lines":[{"sku":"A","quantity":2,"unit_price":{"minor":150,"currency":"USD"}}],"#,
        r#""total":{"minor":300,"currency":"USD"},"placed_at":"2017-01-01T10:00:00.123456Z","ended_at":null}"#
    );
    let order: Order = serde_json::from_str(json).unwrap();
    assert_eq!((order.status, order.reason), (OrderStatus::Cancelled, Some(CancelReason::CancelledByCustomer)));
    assert_eq!(serde_json::to_string(&order).unwrap(), json);
}
