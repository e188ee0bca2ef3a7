use futures_util::future::join_all;
use uuid::Uuid;

use super::world::{World, commit, create, died, placed, release};

fn order() -> Uuid {
    Uuid::now_v7()
}

async fn events(world: &World, order: Uuid) -> Vec<String> {
    world.events(&format!("hold-{order}")).await
}

#[tokio::test]
async fn a_hold_takes_units_and_a_release_brings_them_back() {
    let (world, order) = (World::stocked(&[("rice", 5), ("tea", 2)]).await, order());
    world.deliver(&[create(order, &[("tea", 2), ("rice", 3)])]).await;
    assert_eq!((world.stock("rice").await, world.stock("tea").await), ((5, 2), (2, 0)));
    world.check().await;
    world.deliver(&[release(order)]).await;
    assert_eq!((world.stock("rice").await, world.stock("tea").await), ((5, 5), (2, 2)));
    assert_eq!(events(&world, order).await, ["inventory.InventoryReserved", "inventory.InventoryHoldReleased"]);
    world.check().await;
}

#[tokio::test]
async fn committed_units_stay_gone() {
    let (world, order) = (World::stocked(&[("rice", 5)]).await, order());
    world.deliver(&[create(order, &[("rice", 3)]), commit(order), release(order)]).await;
    assert_eq!(world.stock("rice").await, (5, 2));
    let answers = ["inventory.InventoryReserved", "inventory.InventoryHoldCommitted", "inventory.StepFailed"];
    assert_eq!(events(&world, order).await, answers);
    world.check().await;
}

#[tokio::test]
async fn orders_of_one_batch_share_the_stock_in_their_order() {
    let world = World::stocked(&[("rice", 5)]).await;
    let (first, second, third) = (order(), order(), order());
    world.deliver(&[create(first, &[("rice", 3)]), create(second, &[("rice", 3)]), create(third, &[("rice", 2), ("unknown", 1)])]).await;
    assert_eq!(events(&world, first).await, ["inventory.InventoryReserved"]);
    assert_eq!(events(&world, second).await, ["inventory.InventoryRejected"]);
    assert_eq!(events(&world, third).await, ["inventory.InventoryRejected"], "an unknown product has no units");
    world.deliver(&[release(first), create(order(), &[("rice", 5)])]).await;
    assert_eq!(world.stock("rice").await, (5, 0));
    world.check().await;
}

#[tokio::test]
async fn undo_wins_over_a_late_create() {
    let (world, order) = (World::stocked(&[("rice", 5)]).await, order());
    world.deliver(&[release(order)]).await;
    world.deliver(&[create(order, &[("rice", 3)])]).await;
    assert_eq!(world.stock("rice").await, (5, 5));
    assert_eq!(events(&world, order).await, ["inventory.InventoryHoldReleased"]);
    assert_eq!(world.count("hold_lines").await, 0);
}

#[tokio::test]
async fn a_create_that_died_tells_its_saga_and_holds_nothing_when_it_is_sent_again() {
    let (world, order) = (World::stocked(&[("rice", 5)]).await, order());
    world.deliver(&[died(order, &[("rice", 3)])]).await;
    world.deliver(&[create(order, &[("rice", 3)]), died(order, &[("rice", 3)])]).await;
    assert_eq!(events(&world, order).await, ["inventory.StepFailed"]);
    world.deliver(&[release(order)]).await;
    assert_eq!(events(&world, order).await, ["inventory.StepFailed", "inventory.InventoryHoldReleased"], "a release is answered");
    assert_eq!((world.stock("rice").await, world.count("hold_lines").await), ((5, 5), 0));
    world.check().await;
}

#[tokio::test]
async fn repeats_change_nothing() {
    let (world, order) = (World::stocked(&[("rice", 5)]).await, order());
    for _ in 0..2 {
        world.deliver(&[create(order, &[("rice", 3)]), create(order, &[("rice", 3)])]).await;
    }
    for _ in 0..2 {
        world.deliver(&[release(order), release(order)]).await;
    }
    assert_eq!(world.stock("rice").await, (5, 5));
    assert_eq!(events(&world, order).await.len(), 2);
    world.check().await;
}

#[tokio::test]
async fn demand_counts_what_was_asked_for() {
    let world = World::stocked(&[("rice", 1)]).await;
    world.deliver(&[placed(order(), &[("rice", 3), ("tea", 1)]), placed(order(), &[("rice", 4)])]).await;
    world.deliver(&[placed(order(), &[("rice", 1)])]).await;
    let demand: Vec<(String, i64)> = sqlx::query_as("SELECT sku, units FROM demand ORDER BY sku").fetch_all(&world.pool).await.unwrap();
    assert_eq!(demand, [("rice".to_owned(), 8), ("tea".to_owned(), 1)]);
}

#[tokio::test]
async fn writers_at_once_never_sell_a_unit_twice() {
    let world = World::stocked(&[("a", 40), ("b", 40), ("c", 40)]).await;
    let batches = (0..8).map(|writer: usize| {
        let world = &world;
        async move {
            for round in 0..5 {
                let lines: [(&str, i64); 3] =
                    if writer.is_multiple_of(2) { [("a", 2), ("b", 1), ("c", 1)] } else { [("c", 2), ("b", 1), ("a", 1)] };
                let orders = [order(), order()];
                world.deliver(&orders.map(|order| create(order, &lines))).await;
                if round % 2 == 0 {
                    world.deliver(&[release(orders[0]), commit(orders[1])]).await;
                }
            }
        }
    });
    join_all(batches).await;
    world.check().await;
    let outbox = world.count("outbox").await;
    assert_eq!(outbox, world.count("events").await, "every event is published");
}

#[tokio::test]
async fn stock_rows_are_found_by_their_keys_in_a_full_catalogue() {
    let world = World::new().await;
    let fill = "INSERT INTO stock SELECT 'sku-' || n, 9, 9 FROM generate_series(1, 30000) AS n";
    sqlx::query(fill).execute(&world.pool).await.unwrap();
    for analyze in [false, true] {
        if analyze {
            sqlx::query("ANALYZE stock").execute(&world.pool).await.unwrap();
        }
        // The plan that is cached for every later execution.
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (GENERIC_PLAN) {}", crate::store::LOCK_STOCK));
        let rows = sqlx::raw_sql(explain).fetch_all(&world.pool).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        println!("{}", plan.join("\n"));
        let looked_up = plan.iter().any(|line| line.contains("Index Cond: (sku ="));
        assert!(looked_up && !plan.iter().any(|line| line.contains("Seq Scan")), "{plan:#?}");
    }
}
