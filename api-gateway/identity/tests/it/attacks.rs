//! What is no token of ours.

use identity::{Settings, Verifier};

use crate::issuer::{AUDIENCE, Issuer, forged};

#[actix_web::test]
async fn every_forged_token_is_refused_and_a_good_one_is_not() {
    let issuer = Issuer::start();
    let verifier = Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap();
    let good = issuer.token("ann", "orders:read");
    assert_eq!(verifier.verify(&good).await.unwrap().subject.as_str(), "ann");
    for (name, token) in forged(&issuer, "orders:read") {
        let refused = verifier.verify(&token).await;
        assert!(refused.is_err(), "{name} was believed: {refused:?}");
    }
    // The good one is still good, from memory and anew.
    for verifier in [verifier, Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap()] {
        assert_eq!(verifier.verify(&good).await.unwrap().subject.as_str(), "ann");
    }
}

#[actix_web::test]
async fn a_token_stops_at_its_end_though_it_is_remembered() {
    let issuer = Issuer::start();
    let verifier = Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap();
    let mut claims = issuer.claims("ann", "");
    // Within the leeway of five seconds, so it is believed now and not for long.
    claims["exp"] = serde_json::json!(jsonwebtoken::get_current_timestamp() - 3);
    let token = issuer.key.sign(&claims);
    assert!(verifier.verify(&token).await.is_ok());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while verifier.verify(&token).await.is_ok() {
        assert!(std::time::Instant::now() < until, "it never stopped");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
