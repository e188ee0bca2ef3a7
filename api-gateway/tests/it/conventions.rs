//! What every answer has: limits per caller, origins, compression.

use std::io::Read as _;

use contract::Code;
use reqwest::{Method, Response};

use crate::{ORDER, ORDER_ID, World, problem, upstream::Reply};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[actix_web::test]
async fn a_subject_has_its_own_bucket_and_hears_what_is_left_in_it() {
    let world = World::with(|config| {
        (config.subject_rate, config.subject_burst) = (1, 3);
    });
    for left in [2, 1, 0] {
        let response = world.get("/v1/orders").send().await.unwrap();
        assert_eq!(header(&response, "ratelimit-policy"), r#""subject";q=3;w=3"#);
        assert_eq!(header(&response, "ratelimit"), format!(r#""subject";r={left};t={}"#, 3 - left));
    }
    let refused = world.get("/v1/orders").send().await.unwrap();
    assert_eq!((header(&refused, "retry-after"), header(&refused, "ratelimit")), ("1", r#""subject";r=0;t=3"#));
    assert_eq!(problem(refused).await.code, Code::RateLimited);
    let other = world.request(Method::GET, "/v1/orders").header("x-customer-id", "c2").send().await.unwrap();
    assert_eq!(other.status(), 200);
    assert_eq!(world.orders.seen().len(), 4);
}

#[actix_web::test]
async fn an_address_has_a_bucket_whoever_asks_from_it_and_whatever_for() {
    let world = World::with(|config| {
        (config.address_rate, config.address_burst) = (1, 4);
    });
    let paths = ["/v1/products", "/nothing", "/docs", "/v1/orders"];
    for path in paths {
        let response = world.get(path).send().await.unwrap();
        assert_ne!(response.status(), 429, "{path}");
    }
    for path in paths {
        let refused =
            world.request(Method::GET, path).header("x-customer-id", "another").header("x-forwarded-for", "1.2.3.4").send().await.unwrap();
        assert_eq!(problem(refused).await.code, Code::RateLimited, "{path}");
    }
}

#[actix_web::test]
async fn behind_a_proxy_of_ours_each_client_is_an_address() {
    let world = World::with(|config| {
        (config.address_rate, config.address_burst) = (1, 1);
        config.trusted_proxies = "127.0.0.1".to_owned().try_into().unwrap();
    });
    for (client, status) in [("1.2.3.4", 200), ("1.2.3.5", 200), ("1.2.3.4", 429)] {
        let response = world.get("/v1/products").header("x-forwarded-for", client).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{client}");
    }
}

#[actix_web::test]
async fn pages_of_listed_origins_only_may_read_answers() {
    let world = World::with(|config| config.cors_origins = "https://shop.example, http://localhost:5173".to_owned().try_into().unwrap());
    let response = world.get("/v1/orders").header("origin", "https://shop.example").send().await.unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), "https://shop.example");
    for exposed in ["Location", "ETag", "RateLimit", "Idempotent-Replayed", "traceparent"] {
        assert!(header(&response, "access-control-expose-headers").contains(exposed), "{exposed}");
    }
    for origin in ["https://shop.example.evil", "https://shop.exampl", "http://shop.example", "HTTPS://SHOP.EXAMPLE", "null", "*"] {
        let response = world.get("/v1/orders").header("origin", origin).send().await.unwrap();
        assert_eq!(header(&response, "access-control-allow-origin"), "", "{origin}");
        assert!(header(&response, "vary").contains("origin"));
    }
    let ask = |origin: &'static str, path: &str| {
        world.request(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", "POST").send()
    };
    let allowed = ask("http://localhost:5173", "/v1/orders").await.unwrap();
    assert_eq!((allowed.status().as_u16(), header(&allowed, "access-control-allow-methods")), (204, "POST, GET"));
    assert!(header(&allowed, "access-control-allow-headers").contains("Idempotency-Key"));
    assert_eq!(header(&allowed, "access-control-allow-origin"), "http://localhost:5173");
    assert_eq!(problem(ask("https://evil.example", "/v1/orders").await.unwrap()).await.code, Code::MethodNotAllowed);
    assert!(world.orders.seen().iter().all(|seen| seen.method != "OPTIONS"));
}

#[actix_web::test]
async fn a_large_page_is_compressed_for_who_takes_it() {
    let world = World::new();
    let page = format!(r#"{{"data":"{}"}}"#, "x".repeat(10_000));
    let reply = page.clone();
    world.inventory.reply(move |_| Reply::new(200, reply.clone()).header("content-type", "application/json"));
    let get = |accept: Option<&'static str>| {
        let request = world.get("/v1/products");
        accept.map_or(request.try_clone().unwrap(), |accept| request.header("accept-encoding", accept)).send()
    };
    for accept in ["gzip", "br, GZIP;q=0.5", "deflate, gzip;q=1.0"] {
        let response = get(Some(accept)).await.unwrap();
        assert_eq!((header(&response, "content-encoding"), header(&response, "vary")), ("gzip", "accept-encoding"), "{accept}");
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() < 1_000);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, page);
    }
    for accept in [None, Some("br"), Some("gzip;q=0"), Some("gzip;q=0.0")] {
        let response = get(accept).await.unwrap();
        assert_eq!(header(&response, "content-encoding"), "", "{accept:?}");
        assert_eq!(response.text().await.unwrap(), page);
    }
    world.orders.reply(|_| Reply::new(200, "x".repeat(10_000)).header("content-type", "application/json").header("etag", "\"1\""));
    let tagged = world.get(&format!("/v1/orders/{ORDER_ID}")).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(header(&tagged, "content-encoding"), "");
}

#[actix_web::test]
async fn a_trace_goes_on_if_it_is_one() {
    let world = World::new();
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    world.post("/v1/orders", ORDER).header("traceparent", good).send().await.unwrap();
    assert_eq!(world.orders.seen().pop().unwrap().header("traceparent"), Some(good));
    for bad in [
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x",
        &"0".repeat(10_000),
    ] {
        world.post("/v1/orders", ORDER).header("traceparent", bad).send().await.unwrap();
        let seen = world.orders.seen().pop().unwrap();
        let begun = seen.header("traceparent").unwrap();
        assert!(begun != bad && begun.len() == good.len() && begun.starts_with("00-") && begun.ends_with("-00"), "{begun}");
    }
    // A problem names it, whoever refuses: the gateway, or a service behind it.
    let refused = world.post("/v1/orders", "x".repeat(100_000)).header("traceparent", good).send().await.unwrap();
    assert_eq!(problem(refused).await.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    let theirs =
        r#"{"type":"/problems/unknown_sku","title":"A SKU is not known","status":422,"instance":"/v1/orders","code":"unknown_sku"}"#;
    world.orders.reply(move |_| Reply::new(422, theirs).header("content-type", "application/problem+json"));
    let refused = problem(world.post("/v1/orders", ORDER).header("traceparent", good).send().await.unwrap()).await;
    assert_eq!((refused.code, refused.trace_id.as_deref()), (Code::UnknownSku, Some("0af7651916cd43dd8448eb211c80319c")));
    let begun = problem(world.post("/v1/orders", ORDER).send().await.unwrap()).await.trace_id.unwrap();
    assert!(world.orders.seen().pop().unwrap().header("traceparent").unwrap().contains(&begun));
}
