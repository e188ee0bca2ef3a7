//! Who is let in, at every line of the table, with every kind of token.

use api_gateway::routes::{Access, ROUTES};
use contract::Code;
use identity::{Door, Scope, Settings, Verifier};
use reqwest::{Method, RequestBuilder};

use crate::{
    ORDER_ID, World,
    issuer::{AUDIENCE, Issuer, forged},
    problem,
    upstream::Reply,
};

fn guarded(issuer: &Issuer) -> World {
    let verifier = Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap();
    let world = World::behind(Door::of(verifier), |_| {});
    // An answer to every question, that of the story of an order included.
    world.orders.reply(|_| Reply::new(200, r#"{"events":[],"ended":true}"#));
    world
}

fn request(world: &World, method: &str, path: &str) -> RequestBuilder {
    let request = world.request(Method::from_bytes(method.as_bytes()).unwrap(), &path.replace("{id}", ORDER_ID));
    if method == "POST" { request.header("idempotency-key", "k").header("content-type", "application/json").body("[]") } else { request }
}

/// Every operation of the document × no token, a token of each single scope, of all others: the document says who may, and so it is.
#[actix_web::test]
async fn every_cell_of_routes_and_scopes_is_as_the_document_says() {
    let issuer = Issuer::start();
    let world = guarded(&issuer);
    let document = api_gateway::openapi::document();
    let mut cells = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let needed = operation["security"][0]["bearer"][0].as_str();
            let without = request(&world, &method, path).header("x-customer-id", "ann").send().await.unwrap();
            match needed {
                None => assert_eq!(without.status(), 200, "{method} {path}"),
                Some(_) => assert_eq!(problem(without).await.code, Code::Unauthenticated, "{method} {path}"),
            }
            for scope in Scope::ALL {
                let others = Scope::ALL.into_iter().filter(|other| *other != scope).map(Scope::as_str).collect::<Vec<_>>().join(" ");
                for (scopes, has) in
                    [(scope.as_str(), needed == Some(scope.as_str())), (&others, needed.is_some_and(|needed| needed != scope.as_str()))]
                {
                    let response = request(&world, &method, path).bearer_auth(issuer.token("ann", scopes)).send().await.unwrap();
                    if has || needed.is_none() {
                        assert!(response.status().is_success(), "{method} {path} with {scopes}: {}", response.status());
                    } else {
                        assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
                        assert_eq!(problem(response).await.code, Code::InsufficientScope, "{method} {path} with {scopes}");
                    }
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, ROUTES.len() * Scope::ALL.len() * 2);
}

/// The services are told who the token is of, whatever the client says, and get the token to see for themselves.
#[actix_web::test]
async fn a_service_hears_of_the_subject_and_not_of_what_the_client_claims() {
    let issuer = Issuer::start();
    let world = guarded(&issuer);
    for route in ROUTES {
        let (service, scope) = match (route.path.starts_with("/v1/orders"), route.access) {
            (_, Access::Public) => continue,
            (true, Access::Customer(scope) | Access::Holder(scope)) => (&world.orders, scope),
            (false, Access::Customer(scope) | Access::Holder(scope)) => (&world.inventory, scope),
        };
        let token = issuer.token("ann", scope.as_str());
        request(&world, route.method.as_str(), route.path).bearer_auth(&token).header("x-customer-id", "bob").send().await.unwrap();
        let seen = service.seen().pop().unwrap();
        assert_eq!(seen.header("x-customer-id"), Some("ann"), "{}", route.name);
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()), "{}", route.name);
    }
}

#[actix_web::test]
async fn no_forged_token_opens_any_route() {
    let issuer = Issuer::start();
    let world = guarded(&issuer);
    for route in ROUTES {
        let scope = match route.access {
            Access::Public => continue,
            Access::Customer(scope) | Access::Holder(scope) => scope,
        };
        for (name, token) in forged(&issuer, scope.as_str()) {
            let response = request(&world, route.method.as_str(), route.path).bearer_auth(&token).send().await.unwrap();
            assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"), "{name}");
            let problem = problem(response).await;
            assert_eq!(problem.code, Code::InvalidToken, "{} with {name}", route.name);
            assert!(token.len() < 20 || !serde_json::to_string(&problem).unwrap().contains(&token), "{name}: a problem repeats no token");
        }
    }
    assert!(world.orders.seen().is_empty() && world.inventory.seen().is_empty());
}

#[actix_web::test]
async fn without_the_provider_nobody_is_let_in_and_it_is_said_why() {
    let issuer = Issuer::start();
    issuer.set_broken(true);
    let world = guarded(&issuer);
    let response = request(&world, "GET", "/v1/orders").bearer_auth(issuer.token("ann", "orders:read")).send().await.unwrap();
    let problem = problem(response).await;
    assert_eq!((problem.code, problem.detail.as_deref()), (Code::Unavailable, Some("the identity provider cannot be reached")));
}
