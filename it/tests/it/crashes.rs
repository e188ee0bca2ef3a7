//! kill -9 of each of our processes in the middle of a thousand orders.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, StreamExt as _};
use stack::Service;
use uuid::Uuid;

use crate::client::{Client, order};
use crate::system::Exclusive;
use crate::wait::{SOON, until};

const ORDERS: usize = 1_000;
const IN_FLIGHT: usize = 64;

/// Places a thousand orders of all moods; `at(n)` happens beside when `n` of them have been accepted.
async fn a_thousand_orders(system: &Exclusive, name: &str) -> Vec<Uuid> {
    let client = system.client(name);
    let skus: Vec<String> = (0..20).map(|number| format!("{name}-{number}")).collect();
    let skus: Vec<&str> = skus.iter().map(String::as_str).collect();
    client.create(&skus, 125, 70).await;
    let accepted = AtomicUsize::new(0);
    let placing = async {
        let ids: Vec<Uuid> = stream::iter(0..ORDERS)
            .map(|number| {
                let (client, accepted, skus) = (&client, &accepted, &skus);
                async move {
                    let token = match number % 10 {
                        0 => "tok_declined",
                        1 => "tok_flaky",
                        2 => "tok_timeout",
                        _ => "tok_ok",
                    };
                    let lines = [(skus[number % 20], 1), (skus[(number * 7 + 3) % 20], 1 + number as u64 % 2)];
                    let lines = if lines[0].0 == lines[1].0 { &lines[..1] } else { &lines[..] };
                    let id = client.place_surely(&format!("{name}-{number}"), &order(lines, token)).await.expect(202).id();
                    accepted.fetch_add(1, Ordering::Relaxed);
                    id
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        ids
    };
    let killing = async {
        let victims = [Service::Orders, Service::Inventory, Service::Payments, Service::Gateway];
        for (number, victim) in victims.into_iter().enumerate() {
            let due = ORDERS * (number + 1) / 6;
            until(&format!("{due} orders are accepted"), 3 * SOON, || async {
                let seen = accepted.load(Ordering::Relaxed);
                if seen >= due { Ok(()) } else { Err(seen) }
            })
            .await;
            let open = system.count("orders", "SELECT count(*) FROM orders WHERE ended_at IS NULL AND customer_id = $1", name).await;
            assert!(open > 0 || victim == Service::Gateway, "no order was under way when {victim:?} was killed");
            eprintln!("{victim:?} is killed with {open} orders under way");
            system.stack.kill(victim).await.unwrap();
            system.stack.restart(victim).await.unwrap();
        }
    };
    let (ids, ()) = tokio::join!(placing, killing);
    ids
}

#[tokio::test]
async fn a_killed_service_loses_and_doubles_nothing() {
    let system = Exclusive::enter().await;
    let ids = a_thousand_orders(&system, "crash").await;
    assert_eq!(ids.len(), ORDERS);
    let client: Client = system.client("crash");
    let mut confirmed = 0;
    for id in ids {
        let order = client.ended(id).await;
        match order["status"].as_str() {
            Some("CONFIRMED") => confirmed += 1,
            Some("CANCELLED") => assert!(matches!(order["reason"].as_str(), Some("out_of_stock" | "payment_declined")), "{order}"),
            _ => panic!("{order}"),
        }
    }
    assert!(confirmed > ORDERS / 4, "only {confirmed} orders were confirmed");
    let report = system.verdict().await;
    eprintln!("{confirmed} confirmed\n{report}");
}
