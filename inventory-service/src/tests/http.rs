use actix_web::test::TestRequest;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::world::{World, create, products, receipts};

#[tokio::test]
async fn products_are_created_with_their_first_receipt() {
    let world = World::new().await;
    let answer = world.send(products("k1", &[("tea", 2), ("rice", 5), ("salt", 0)])).await;
    assert_eq!((answer.status, answer.body), (201, json!({"created": 3})));
    assert_eq!(world.events("sku-rice").await, ["inventory.ProductListed", "inventory.StockReceived"]);
    assert_eq!(world.events("sku-salt").await, ["inventory.ProductListed"]);
    assert_eq!((world.stock("rice").await, world.stock("salt").await), ((5, 5), (0, 0)));
    let answer = world.send(TestRequest::get().uri("/v1/products")).await;
    let skus: Vec<&str> = answer.body["data"].as_array().unwrap().iter().map(|product| product["sku"].as_str().unwrap()).collect();
    assert_eq!((skus, &answer.body["next"]), (vec!["rice", "salt", "tea"], &json!(null)));
    let rice =
        json!({"sku": "rice", "name": "rice", "category": "", "brand": "", "price": {"minor": 100, "currency": "USD"}, "available": 5});
    assert_eq!(answer.body["data"][0], rice);
}

#[tokio::test]
async fn categories_are_listed_by_name_with_how_much_is_in_them() {
    let world = World::new().await;
    let product = |sku: &str, category: &str| json!({"sku": sku, "name": sku, "category": category, "brand": "", "price": {"minor": 100, "currency": "USD"}, "stock": 1});
    let body = json!([product("tea", "drinks"), product("water", "drinks"), product("bread", "bakery"), product("bag", "")]);
    let request = TestRequest::post().uri("/v1/products").insert_header(("Idempotency-Key", "k")).set_json(body);
    assert_eq!(world.send(request).await.status, 201);
    let answer = world.send(TestRequest::get().uri("/v1/categories")).await;
    let category = |name: &str, products: u64| json!({"name": name, "products": products});
    assert_eq!((answer.status, answer.body), (200, json!({"data": [category("", 1), category("bakery", 1), category("drinks", 2)]})));
}

#[tokio::test]
async fn a_product_listed_again_is_changed_and_not_received_again() {
    let world = World::stocked(&[("rice", 5)]).await;
    world.deliver(&[create(Uuid::now_v7(), &[("rice", 2)])]).await;
    let body =
        json!([{"sku": "rice", "name": "rice", "category": "", "brand": "", "price": {"minor": 120, "currency": "USD"}, "stock": 5}]);
    let request = TestRequest::post().uri("/v1/products").insert_header(("Idempotency-Key", "again")).set_json(body);
    let answer = world.send(request).await;
    assert_eq!((answer.status, answer.body), (201, json!({"created": 0})));
    assert_eq!(world.events("sku-rice").await.last().unwrap(), "inventory.PriceChanged");
    assert_eq!(world.stock("rice").await, (5, 3));
    let price: i64 = sqlx::query_scalar("SELECT price_minor FROM products").fetch_one(&world.pool).await.unwrap();
    assert_eq!(price, 120);
    world.check().await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let world = World::new().await;
    assert!(!world.send(products("k1", &[("rice", 5)])).await.replayed);
    let repeat = world.send(products("k1", &[("rice", 5)])).await;
    assert_eq!((repeat.status, repeat.replayed, repeat.body), (201, true, json!({"created": 1})));
    let first = world.send(receipts("k2", &[("rice", 3)])).await;
    assert_eq!((first.status, first.body), (200, json!({"received": 1})));
    let repeat = world.send(receipts("k2", &[("rice", 3)])).await;
    assert_eq!((repeat.status, repeat.replayed, repeat.body), (200, true, json!({"received": 1})));
    assert_eq!(world.stock("rice").await, (8, 8));
    let reused = world.send(receipts("k2", &[("rice", 4)])).await;
    assert_eq!((reused.status, &reused.body["code"]), (422, &json!("idempotency_key_reused")));
    // The same key on another route is another request.
    assert_eq!(world.send(receipts("k1", &[("rice", 1)])).await.status, 200);
    assert_eq!(world.stock("rice").await, (9, 9));
}

#[tokio::test]
async fn requests_with_one_key_at_once_happen_once() {
    let world = World::stocked(&[("rice", 0)]).await;
    let answers = join_all((0..12).map(|_| world.send(receipts("same", &[("rice", 3)])))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(world.stock("rice").await, (3, 3));
}

#[tokio::test]
async fn receipts_at_once_of_the_same_products_all_count() {
    let world = World::stocked(&[("a", 0), ("b", 0)]).await;
    let keys: Vec<String> = (0..12).map(|key| format!("k{key}")).collect();
    let requests = keys
        .iter()
        .enumerate()
        .map(|(index, key)| world.send(receipts(key, if index.is_multiple_of(2) { &[("a", 1), ("b", 1)] } else { &[("b", 1), ("a", 1)] })));
    for answer in join_all(requests).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!((world.stock("a").await, world.stock("b").await), ((12, 12), (12, 12)));
}

#[tokio::test]
async fn a_refused_receipt_leaves_nothing_behind() {
    let world = World::stocked(&[("rice", 0)]).await;
    let (events, outbox) = (world.count("events").await, world.count("outbox").await);
    let refused = world.send(receipts("k1", &[("rice", 1), ("tea", 1), ("salt", 2)])).await;
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("unknown_sku")));
    let pointers: Vec<&str> = refused.body["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/1/sku", "/2/sku"]);
    assert_eq!((world.count("events").await, world.count("outbox").await), (events, outbox));
    assert_eq!(world.stock("rice").await, (0, 0));
    // The key is free again.
    assert_eq!(world.send(receipts("k1", &[("rice", 1)])).await.status, 200);
}

#[tokio::test]
async fn a_thousand_products_fit_one_request_and_pages_follow_each_other() {
    let world = World::new().await;
    let skus: Vec<String> = (0..1_000).map(|sku| format!("s{sku:04}")).collect();
    let stock: Vec<(&str, u32)> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
    let answer = world.send(products("k1", &stock)).await;
    assert_eq!((answer.status, answer.body), (201, json!({"created": 1_000})));
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.send(TestRequest::get().uri(&format!("/v1/products?limit=400&after={after}"))).await;
        seen.extend(page.body["data"].as_array().unwrap().iter().map(|product| product["sku"].as_str().unwrap().to_owned()));
        match page.body["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, skus);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_its_code() {
    let world = World::new().await;
    let cases = [
        (TestRequest::get().uri("/v1/products?limit=1001"), 400, "limit_out_of_range"),
        (TestRequest::get().uri("/v1/products?after=a%20b"), 400, "invalid_cursor"),
        (TestRequest::get().uri("/v1/products?page=1"), 400, "invalid_query"),
        (TestRequest::get().uri("/v1/stock"), 405, "method_not_allowed"),
        (TestRequest::get().uri("/v2"), 404, "not_found"),
        (TestRequest::post().uri("/v1/stock").set_json(json!([{"sku": "a", "units": 1}])), 400, "idempotency_key_required"),
        (receipts("a b", &[("a", 1)]), 400, "idempotency_key_invalid"),
        (receipts("k", &[("a", 0)]), 422, "stock_out_of_range"),
        (receipts("k", &[]), 422, "empty_list"),
    ];
    for (request, status, code) in cases {
        let answer = world.send(request).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{answer:?}");
    }
}

#[tokio::test]
async fn the_catalogue_is_searched_by_text_category_and_price() {
    let world = World::new().await;
    let product = |sku: &str, name: &str, category: &str, brand: &str, minor: i64| json!({"sku": sku, "name": name, "category": category, "brand": brand, "price": {"minor": minor, "currency": "USD"}, "stock": 1});
    let body = json!([
        product("a", "Green Tea 100%", "drinks", "Highland", 549),
        product("b", "Tea cup", "kitchen", "Kiln", 1250),
        product("c", "Coffee", "drinks", "Teahouse", 899),
        product("d", "Salt_", "food", "Sea", 100),
    ]);
    let request = TestRequest::post().uri("/v1/products").insert_header(("Idempotency-Key", "search")).set_json(body);
    assert_eq!(world.send(request).await.status, 201);
    for (query, found) in [
        ("", "a b c d"),
        ("q=tea", "a b c"),
        ("q=TEA&category=drinks", "a c"),
        ("q=tea&price_max=899", "a c"),
        ("price_min=899", "b c"),
        ("price_min=100&price_max=100", "d"),
        // No letter of a search means anything but itself.
        ("q=%25", "a"),
        ("q=_", "d"),
        ("category=Drinks", ""),
    ] {
        let answer = world.send(TestRequest::get().uri(&format!("/v1/products?{query}"))).await;
        let skus: Vec<&str> = answer.body["data"].as_array().unwrap().iter().map(|product| product["sku"].as_str().unwrap()).collect();
        assert_eq!(skus.join(" "), found, "{query}");
    }
    let page = world.send(TestRequest::get().uri("/v1/products?q=tea&limit=1")).await;
    assert_eq!((&page.body["data"][0]["sku"], &page.body["next"]), (&json!("a"), &json!("a")));
}

#[tokio::test]
async fn requests_are_kept_for_a_day() {
    let world = World::new().await;
    assert_eq!(world.send(products("k1", &[("rice", 5)])).await.status, 201);
    assert_eq!(crate::store::requests::delete_old(&world.pool, 10).await.unwrap(), 0);
    sqlx::query("UPDATE idempotency SET created_at = now() - interval '24 hours 1 second'").execute(&world.pool).await.unwrap();
    assert_eq!(crate::store::requests::delete_old(&world.pool, 10).await.unwrap(), 1);
    let again = world.send(receipts("k1", &[("rice", 1)])).await;
    assert_eq!((again.status, again.replayed), (200, false));
    assert_eq!(world.stock("rice").await, (6, 6));
}
