//! The provider's keys come and go.

use std::time::Duration;

use futures_util::future::join_all;
use identity::{Refused, Settings, Verifier};

use crate::issuer::{AUDIENCE, Issuer, Key};

fn verifier(issuer: &Issuer, pause: Duration) -> Verifier {
    Verifier::new(Settings { key_pause: pause, ..Settings::new(issuer.url(), AUDIENCE) }).unwrap()
}

#[actix_web::test]
async fn the_key_set_is_fetched_once_for_many() {
    let issuer = Issuer::start();
    let verifier = verifier(&issuer, Duration::from_secs(60));
    let tokens: Vec<String> = (0..20).map(|n| issuer.token(&format!("c{n}"), "")).collect();
    let all = join_all(tokens.iter().map(|token| verifier.verify(token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 1);
}

#[actix_web::test]
async fn a_new_key_is_found_and_an_old_one_forgotten_with_its_tokens() {
    let issuer = Issuer::start();
    let verifier = verifier(&issuer, Duration::ZERO);
    let old = issuer.token("ann", "");
    assert!(verifier.verify(&old).await.is_ok());
    let next = Key::new("k2");
    issuer.publish(&[&next]);
    let new = next.sign(&issuer.claims("ann", ""));
    assert!(verifier.verify(&new).await.is_ok());
    assert_eq!(issuer.asked(), 2);
    assert!(matches!(verifier.verify(&old).await, Err(Refused::UnknownKey)));
}

#[actix_web::test]
async fn unknown_keys_do_not_make_us_ask_all_the_time() {
    let issuer = Issuer::start();
    let verifier = verifier(&issuer, Duration::from_secs(60));
    assert!(verifier.verify(&issuer.token("ann", "")).await.is_ok());
    for n in 0..100 {
        let token = Key::new(&format!("x{n}")).sign(&issuer.claims("ann", ""));
        assert!(matches!(verifier.verify(&token).await, Err(Refused::UnknownKey)));
    }
    assert_eq!(issuer.asked(), 1);
}

#[actix_web::test]
async fn without_the_provider_known_keys_go_on_and_unknown_ones_cannot_be_judged() {
    let issuer = Issuer::start();
    issuer.set_broken(true);
    let verifier = verifier(&issuer, Duration::ZERO);
    let token = issuer.token("ann", "");
    assert!(matches!(verifier.verify(&token).await, Err(Refused::Provider(_))));
    issuer.set_broken(false);
    assert!(verifier.verify(&token).await.is_ok());
    issuer.set_broken(true);
    assert!(verifier.verify(&issuer.token("bob", "")).await.is_ok());
    let unknown = Key::new("k2").sign(&issuer.claims("ann", ""));
    assert!(matches!(verifier.verify(&unknown).await, Err(Refused::UnknownKey)));
}

#[actix_web::test]
async fn the_provider_must_call_itself_what_we_call_it() {
    let issuer = Issuer::start();
    let alias = issuer.url().replace("127.0.0.1", "localhost");
    let verifier = Verifier::new(Settings::new(alias, AUDIENCE)).unwrap();
    assert!(matches!(verifier.verify(&issuer.token("ann", "")).await, Err(Refused::Provider(_))));
}
