//! From the headers of a request to who asks.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use contract::Code;
use identity::{Door, OpenDoor, Scope, Settings, Verifier};

use crate::issuer::{AUDIENCE, Issuer};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

async fn refusal(door: &Door, pairs: &[(&'static str, &str)]) -> Code {
    door.admit(&headers(pairs), Scope::OrdersWrite).await.unwrap_err().code()
}

#[actix_web::test]
async fn a_bearer_is_let_in_with_the_scope_and_is_who_the_token_says() {
    let issuer = Issuer::start();
    let door = Door::of(Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap());
    let token = format!("Bearer {}", issuer.token("ann", "openid orders:write"));
    let admitted = door.admit(&headers(&[("authorization", &token), ("x-customer-id", "bob")]), Scope::OrdersWrite).await.unwrap();
    assert_eq!(admitted.customer().unwrap().as_str(), "ann");
    let lower = token.replacen("Bearer", "bearer", 1);
    assert!(door.admit(&headers(&[("authorization", &lower)]), Scope::OrdersWrite).await.is_ok());
    let reader = format!("Bearer {}", issuer.token("ann", "orders:read"));
    assert_eq!(refusal(&door, &[("authorization", &reader)]).await, Code::InsufficientScope);
    assert_eq!(refusal(&door, &[]).await, Code::Unauthenticated);
    assert_eq!(refusal(&door, &[("x-customer-id", "ann")]).await, Code::Unauthenticated);
    for other in ["Basic YTpi", "Bearer", "Bearer  ", token.strip_prefix("Bearer ").unwrap()] {
        assert_eq!(refusal(&door, &[("authorization", other), ("x-customer-id", "ann")]).await, Code::InvalidToken, "{other}");
    }
    assert_eq!(refusal(&door, &[("authorization", &token), ("authorization", &token)]).await, Code::InvalidToken);
}

#[actix_web::test]
async fn where_the_network_is_trusted_a_token_is_judged_all_the_same() {
    let issuer = Issuer::start();
    let door = Door::new(Some(issuer.url()), Some(AUDIENCE), true).unwrap();
    let named = door.admit(&headers(&[("x-customer-id", "bob")]), Scope::OrdersWrite).await.unwrap();
    assert_eq!(named.customer().unwrap().as_str(), "bob");
    let nobody = door.admit(&headers(&[]), Scope::StockWrite).await.unwrap();
    assert_eq!(nobody.customer().unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(refusal(&door, &[("x-customer-id", "a b")]).await, Code::Unauthenticated);
    let token = format!("Bearer {}", issuer.token("ann", "orders:write"));
    let admitted = door.admit(&headers(&[("authorization", &token), ("x-customer-id", "bob")]), Scope::OrdersWrite).await.unwrap();
    assert_eq!(admitted.customer().unwrap().as_str(), "ann");
    assert_eq!(refusal(&door, &[("authorization", "Bearer x"), ("x-customer-id", "bob")]).await, Code::InvalidToken);
}

#[test]
fn a_door_that_would_let_in_nobody_is_not_made() {
    assert!(matches!(Door::new(None, Some(""), false), Err(OpenDoor::Nobody)));
    assert!(matches!(Door::new(Some("http://x"), None, true), Err(OpenDoor::Half)));
    assert!(matches!(Door::new(None, Some("a"), false), Err(OpenDoor::Half)));
    assert!(Door::new(None, None, true).unwrap().trusts_header());
}
