//! One contract, two providers: what we need of a provider is what mock-oauth2-server gives in development and Keycloak elsewhere.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use identity::{Refused, Scope, Settings, Verifier};
use reqwest::{Client, Response, Url, header, redirect::Policy};
use serde_json::Value;
use stack::{Part, Provider, Stack};

use crate::issuer::{AUDIENCE, base64url};

const READ_AND_WRITE: &str = "orders:read orders:write";

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_of_development_keeps_the_contract() {
    keeps_the_contract(Provider::Mock).await;
}

/// Keycloak is fetched once (180 MB) and takes half a minute to start, or minutes on a busy machine.
#[tokio::test(flavor = "multi_thread")]
async fn keycloak_with_our_realm_keeps_the_contract() {
    if std::env::var_os("LONG").is_some() {
        keeps_the_contract(Provider::Keycloak).await;
    }
}

async fn keeps_the_contract(provider: Provider) {
    let stack = Stack::builder().parts([Part::Identity]).identity(provider).start().await.unwrap();
    let issuer = stack.env()["OIDC_ISSUER"].clone();
    let verifier = |audience: &str| Verifier::new(Settings::new(&issuer, audience)).unwrap();
    let ours = verifier(AUDIENCE);

    let token = stack.token("ada", READ_AND_WRITE).await.unwrap();
    let ada = ours.verify(&token).await.unwrap();
    assert!(ada.scopes.allow(Scope::OrdersRead) && ada.scopes.allow(Scope::OrdersWrite) && !ada.scopes.allow(Scope::StockWrite));
    let narrow = ours.verify(&stack.token("ada", "orders:read").await.unwrap()).await.unwrap();
    assert_eq!(narrow.subject, ada.subject);
    assert!(narrow.scopes.allow(Scope::OrdersRead) && !narrow.scopes.allow(Scope::OrdersWrite), "a token has what was asked for");
    let otto = ours.verify(&stack.token("otto", "stock:write ops:read").await.unwrap()).await.unwrap();
    assert_ne!(otto.subject, ada.subject);
    assert!(otto.scopes.allow(Scope::StockWrite) && otto.scopes.allow(Scope::OpsRead));
    if provider == Provider::Keycloak {
        let wanted = stack.token("ada", "orders:read stock:write ops:write").await.unwrap();
        let granted = ours.verify(&wanted).await.unwrap();
        assert!(!granted.scopes.allow(Scope::StockWrite) && !granted.scopes.allow(Scope::OpsWrite), "a scope is for who has its role");
    }

    assert!(matches!(verifier("another-api").verify(&token).await, Err(Refused::Audience)));
    let parts: Vec<&str> = token.split('.').collect();
    let none = base64url(br#"{"alg":"none","typ":"JWT"}"#);
    let other = base64url(br#"{"sub":"mallory"}"#);
    for forged in [format!("{none}.{}.", parts[1]), format!("{}.{other}.{}", parts[0], parts[2]), format!("{}.{}.", parts[0], parts[1])] {
        assert!(ours.verify(&forged).await.is_err(), "{forged}");
    }
    // By another name it is another issuer: it says so itself, or the token does.
    let alias = Verifier::new(Settings::new(issuer.replace("127.0.0.1", "localhost"), AUDIENCE)).unwrap();
    assert!(matches!(alias.verify(&token).await, Err(Refused::Provider(_) | Refused::Issuer)));

    let (client, user, password) = match provider {
        Provider::Mock => ("orders-web", "ada", ""),
        Provider::Keycloak => ("orders-web", "ada", "demo"),
    };
    let by_code = log_in(&issuer, client, user, password).await;
    let by_code = ours.verify(&by_code).await.unwrap();
    assert_eq!(by_code.subject, ada.subject, "the same person, by whichever way");
    assert!(by_code.scopes.allow(Scope::OrdersWrite));
}

/// Code flow with PKCE (RFC 7636), as a browser does it: the login form filled in, the code traded for a token, and only with its verifier.
async fn log_in(issuer: &str, client: &str, user: &str, password: &str) -> String {
    let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let discovery: Value = http.get(format!("{issuer}/.well-known/openid-configuration")).send().await.unwrap().json().await.unwrap();
    let (authorize, token) = (discovery["authorization_endpoint"].as_str().unwrap(), discovery["token_endpoint"].as_str().unwrap());
    let verifier = "v".repeat(64);
    let challenge = base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
    let callback = "http://localhost:5173/callback";
    let scope = format!("openid {READ_AND_WRITE}");
    let mut url = Url::parse(authorize).unwrap();
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", callback),
        ("scope", &scope),
        ("state", "s1"),
        ("nonce", "n1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let trade = async |verifier: &str| -> Response {
        let page = http.get(url.clone()).send().await.unwrap();
        let cookies: Vec<String> = page
            .headers()
            .get_all(header::SET_COOKIE)
            .iter()
            .map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned())
            .collect();
        let page = page.text().await.unwrap();
        let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().replace("&amp;", "&");
        let action = if action.is_empty() { url.clone() } else { url.join(&action).unwrap() };
        // What the page of the mock sends of a customer; Keycloak does not read it.
        let claims = format!("{{\"scope\":\"{scope}\"}}");
        let filled = form(&[("username", user), ("password", password), ("credentialId", ""), ("claims", &claims)]);
        let posted = http
            .post(action)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, FORM)
            .body(filled)
            .send()
            .await
            .unwrap();
        assert!(posted.status().is_redirection(), "{}: {}", posted.status(), posted.text().await.unwrap());
        let back = Url::parse(posted.headers()[header::LOCATION].to_str().unwrap()).unwrap();
        let answer: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        assert_eq!(answer["state"], "s1");
        let trade = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", &answer["code"]),
            ("redirect_uri", callback),
            ("code_verifier", verifier),
            ("scope", &scope),
        ]);
        http.post(token).header(header::CONTENT_TYPE, FORM).body(trade).send().await.unwrap()
    };
    assert_eq!(trade(&"w".repeat(64)).await.status(), 400, "a code without its verifier is worth nothing");
    let traded = trade(&verifier).await;
    assert_eq!(traded.status(), 200);
    traded.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

const FORM: &str = "application/x-www-form-urlencoded";

fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://x").unwrap();
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}
