//! Two instances of a service share its partitions; the partitions of a killed one move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use stack::Service;

use crate::client::Client;
use crate::system::{Exclusive, System};
use crate::wait::{SOON, until};

/// Session timeout 6 s, and the rest for the group to settle.
const MOVED_WITHIN: Duration = Duration::from_secs(15);

/// Who owns which partitions of what inventory reads.
async fn owners(system: &System) -> BTreeMap<String, i64> {
    sqlx::query_as("SELECT owner, count(*) FROM progress GROUP BY owner")
        .fetch_all(&mut system.sql("inventory").await)
        .await
        .unwrap()
        .into_iter()
        .collect()
}

#[tokio::test]
async fn two_instances_share_the_partitions_and_a_killed_ones_move_within_15_s() {
    let system = Exclusive::enter().await;
    let client = system.client("group");
    client.create(&["group-1"], 100, 1_000).await;
    let second = system.stack.add_instance(Service::Inventory).await.unwrap();
    let shared = until("both instances own partitions", SOON, || async {
        let owners = owners(&system).await;
        if owners.len() == 2 { Ok(owners) } else { Err(owners) }
    })
    .await;
    eprintln!("shared: {shared:?}");
    let names: BTreeSet<String> = shared.keys().cloned().collect();
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(client.placed(&[("group-1", 1)], "tok_ok").await);
    }
    system.stack.kill(Service::Inventory.instance(second)).await.unwrap();
    let killed = Instant::now();
    for _ in 0..30 {
        ids.push(client.placed(&[("group-1", 1)], "tok_ok").await);
    }
    let left = until("one instance owns everything", MOVED_WITHIN, || async {
        let owners = owners(&system).await;
        if owners.len() == 1 { Ok(owners) } else { Err(owners) }
    })
    .await;
    eprintln!("moved after {:?}: {left:?}", killed.elapsed());
    assert!(left.keys().all(|name| names.contains(name)));
    for id in ids {
        Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    }
    system.verdict().await;
}
