use contract::Code;
use reqwest::Method;

use crate::{ORDER, ORDER_ID, World, problem};

#[actix_web::test]
async fn an_order_path_needs_a_customer() {
    let world = World::new();
    for (method, path) in
        [(Method::POST, "/v1/orders".to_owned()), (Method::GET, format!("/v1/orders/{ORDER_ID}")), (Method::GET, "/v1/orders".to_owned())]
    {
        let response = world.request(method.clone(), &path).send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(problem(response).await.code, Code::Unauthenticated);
        let response = world.request(method, &path).header("x-customer-id", "a b").send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::Unauthenticated);
    }
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn the_catalogue_is_anyones_and_nobody_is_named_to_its_service() {
    let world = World::new();
    assert_eq!(world.get("/v1/products").bearer_auth("rubbish").send().await.unwrap().status(), 200);
    let seen = world.inventory.only();
    assert_eq!((seen.header("x-customer-id"), seen.header("authorization")), (None, None));
}

#[actix_web::test]
async fn a_path_that_is_not_there_is_a_problem() {
    let world = World::new();
    for path in ["/", "/v1", "/v2/orders", "/v1/orders/x/y/z", "/livez", "/metrics"] {
        let found = problem(world.get(path).send().await.unwrap()).await;
        assert_eq!((found.code, found.instance.as_deref()), (Code::NotFound, Some(path)));
        assert_eq!(found.kind, "/problems/not_found");
    }
}

#[actix_web::test]
async fn a_method_that_a_path_does_not_take_is_a_problem_and_names_those_it_does() {
    let world = World::new();
    let order = format!("/v1/orders/{ORDER_ID}");
    for (method, path, allow) in [
        (Method::DELETE, "/v1/orders", "POST, GET"),
        (Method::POST, order.as_str(), "GET"),
        (Method::PUT, "/v1/products", "GET, POST"),
        (Method::GET, "/v1/stock", "POST"),
    ] {
        let response = world.request(method, path).header("x-customer-id", "c1").send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(problem(response).await.code, Code::MethodNotAllowed);
    }
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn an_id_that_is_none_is_an_order_that_is_not_found() {
    let world = World::new();
    let response = world.get("/v1/orders/17").send().await.unwrap();
    assert_eq!(problem(response).await.code, Code::OrderNotFound);
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn a_compressed_body_is_refused() {
    let world = World::new();
    let response = world.post("/v1/orders", ORDER).header("content-encoding", "gzip").send().await.unwrap();
    assert_eq!(problem(response).await.code, Code::UnsupportedMediaType);
}
