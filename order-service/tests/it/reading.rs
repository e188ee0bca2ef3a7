//! Reading orders: only one's own, page by page.

use contract::Page;

use crate::world::{body, name, problem, world};

#[tokio::test]
async fn nobody_sees_anothers_order() {
    let order = world().await.order().await;
    let path = format!("/v1/orders/{}", order.id);
    let world = order.world;
    assert_eq!(problem(world.get(&path, "mallory").send().await.unwrap()).await.1, "order_not_found");
    assert_eq!(problem(world.post(&format!("{path}/cancel"), "mallory").send().await.unwrap()).await.1, "order_not_found");
    assert_eq!(problem(world.get("/v1/orders/17", "mallory").send().await.unwrap()).await.1, "order_not_found");
    let empty: Page<contract::Order> = world.get("/v1/orders", &name("mallory")).send().await.unwrap().json().await.unwrap();
    assert_eq!((empty.data.len(), empty.next), (0, None));
}

#[tokio::test]
async fn pages_hold_every_order_once_newest_first() {
    let (world, customer) = (world().await, name("customer"));
    let mut placed = Vec::new();
    for n in 0..7 {
        let order: contract::Order = world.place(&customer, &n.to_string(), &body(&[("apple", 1)])).await.json().await.unwrap();
        placed.insert(0, order.id);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/orders?limit=3&after={after}"), &customer).send().await.unwrap();
        let page: Page<contract::Order> = page.json().await.unwrap();
        assert!(page.data.len() <= 3);
        seen.extend(page.data.iter().map(|order| order.id));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen, placed);
    for (query, code) in
        [("limit=0", "limit_out_of_range"), ("limit=x", "limit_out_of_range"), ("after=zz", "invalid_cursor"), ("a=1", "invalid_query")]
    {
        assert_eq!(problem(world.get(&format!("/v1/orders?{query}"), &customer).send().await.unwrap()).await.1, code, "{query}");
    }
}
