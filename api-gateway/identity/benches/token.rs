//! What it costs to check a token: `cargo bench -p identity --bench token`.
//!
//! Each first time a signature is verified (ES256); after that the token is known by its hash. A request is checked twice, at the gateway and
//! in its service.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench fails by panicking and prints what it finds"
)]

use std::time::{Duration, Instant};

use identity::{Settings, Verifier};

#[path = "../tests/it/issuer.rs"]
#[expect(dead_code, reason = "tests use all of it")]
mod issuer;

const TOKENS: usize = 2_000;
const ROUNDS: usize = 50;

#[actix_web::main]
async fn main() {
    let issuer = issuer::Issuer::start();
    let verifier = Verifier::new(Settings::new(issuer.url(), issuer::AUDIENCE)).unwrap();
    verifier.verify(&issuer.token("warm", "orders:read")).await.unwrap();
    let tokens: Vec<String> = (0..TOKENS).map(|n| issuer.token(&format!("customer-{n}"), "orders:read orders:write")).collect();
    for (what, rounds) in [("new", 1), ("known", ROUNDS)] {
        let mut each: Vec<Duration> = Vec::with_capacity(TOKENS * rounds);
        for token in std::iter::repeat_n(&tokens, rounds).flatten() {
            let began = Instant::now();
            verifier.verify(token).await.unwrap();
            each.push(began.elapsed());
        }
        each.sort_unstable();
        let total: Duration = each.iter().sum();
        let mean = total / u32::try_from(each.len()).unwrap();
        println!(
            "{what:5} token of {} bytes: mean {mean:?}, p50 {:?}, p99 {:?}",
            tokens[0].len(),
            each[each.len() / 2],
            each[each.len() * 99 / 100]
        );
    }
}
