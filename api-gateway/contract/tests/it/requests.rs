use actix_web::{
    App, HttpResponse,
    http::{StatusCode, header, header::HeaderMap},
    test as client, web,
};
use contract::{Code, Json, PlaceOrder, Problem, ProblemDocument, headers, headers::Tags};

fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(header::HeaderName::from_static(name), header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn key_refusal(pairs: &[(&'static str, &str)]) -> Code {
    headers::idempotency_key(&map(pairs)).unwrap_err().code()
}

#[test]
fn an_idempotency_key_is_given_once_and_has_its_form() {
    let key = headers::idempotency_key(&map(&[("idempotency-key", "a.B_9:-")])).unwrap();
    assert_eq!(key.as_str(), "a.B_9:-");
    assert_eq!(key_refusal(&[]), Code::IdempotencyKeyRequired);
    for text in ["", "a b", "\"a\"", "ä", &"x".repeat(129)] {
        assert_eq!(key_refusal(&[("idempotency-key", text)]), Code::IdempotencyKeyInvalid, "{text}");
    }
    assert_eq!(key_refusal(&[("idempotency-key", "a"), ("idempotency-key", "a")]), Code::IdempotencyKeyInvalid);
}

#[test]
fn a_wait_is_preferred_in_whole_seconds_and_bounded() {
    let wait = |text: &str| headers::preferred_wait(&map(&[("prefer", text)])).map(|wait| wait.as_secs());
    assert_eq!((wait("wait=5"), wait("respond-async, WAIT = \"3\""), wait("wait=600")), (Some(5), Some(3), Some(8)));
    for text in ["", "wait", "wait=0", "wait=-1", "wait=x", "wait=1.5", "waits=5"] {
        assert_eq!(wait(text), None, "{text}");
    }
}

#[test]
fn entity_tags_match_strongly_for_writes_and_weakly_for_reads() {
    let tags = |text: &str| Tags::of(&map(&[("if-match", text)]), &header::IF_MATCH).unwrap();
    assert!(tags("\"1\"").name("\"1\"") && tags("\"0\", \"1\"").name("\"1\"") && tags("*").name("\"1\""));
    assert!(!tags("W/\"1\"").name("\"1\"") && tags("W/\"1\"").name_weakly("\"1\""));
    for text in ["", "1", "\"2\"", "\"1\"x"] {
        assert!(!tags(text).name_weakly("\"1\""), "{text}");
    }
    assert_eq!(Tags::of(&map(&[]), &header::IF_MATCH), None);
}

#[test]
fn a_customer_is_given_once_and_has_an_id() {
    let customer = headers::customer_id(&map(&[("x-customer-id", "jo@example.com")])).unwrap();
    assert_eq!(customer.as_str(), "jo@example.com");
    for pairs in [&[][..], &[("x-customer-id", "")], &[("x-customer-id", "a b")], &[("x-customer-id", "a"), ("x-customer-id", "b")]] {
        assert_eq!(headers::customer_id(&map(pairs)).unwrap_err().code(), Code::Unauthenticated);
    }
}

async fn place(body: Json<PlaceOrder>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Accepted().body(body.0.lines.len().to_string()))
}

/// Status and code of the answer to `body` from a handler that takes a checked order.
async fn answer(content_type: &str, body: impl Into<web::Bytes>) -> (StatusCode, Option<ProblemDocument>) {
    let app = client::init_service(App::new().route("/v1/orders", web::post().to(place))).await;
    let request = client::TestRequest::post().uri("/v1/orders").insert_header((header::CONTENT_TYPE, content_type)).set_payload(body);
    let response = client::call_service(&app, request.to_request()).await;
    (response.status(), serde_json::from_slice(&client::read_body(response).await).ok())
}

#[actix_web::test]
async fn a_handler_gets_a_checked_body_or_is_not_called() {
    let good = r#"{"lines":[{"sku":"A","quantity":1}],"payment":{"token":"tok_ok"}}"#;
    assert_eq!(answer("application/json", good).await.0, StatusCode::ACCEPTED);
    assert_eq!(answer("Application/JSON; charset=utf-8", good).await.0, StatusCode::ACCEPTED);
    for (content_type, body, code) in [
        ("text/plain", good.to_owned(), Code::UnsupportedMediaType),
        ("application/jsonx", good.to_owned(), Code::UnsupportedMediaType),
        ("application/json", "{".to_owned(), Code::MalformedJson),
        ("application/json", " ".repeat(64 * 1024 + 1), Code::BodyTooLarge),
        ("application/json", String::new(), Code::MalformedJson),
    ] {
        let (status, problem) = answer(content_type, body).await;
        let problem = problem.unwrap();
        assert_eq!((problem.code, status.as_u16()), (code, code.status()));
        assert_eq!(problem.instance.as_deref(), Some("/v1/orders"));
    }
}
