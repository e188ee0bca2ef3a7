//! The reader's statements on a real database.

use bench::conservation::{Books, Payments, Stock};
use bench::flight::Decision;
use bench::reader::Reader;
use bench::wire::Status;
use sqlx::{Connection, PgConnection};
use stack::Stack;
use uuid::Uuid;

/// What the reader needs of the services' tables, as their migrations make them, and a few rows.
const ORDERS: &str = "
    CREATE TABLE orders (id uuid PRIMARY KEY, customer_id text, status text, reason text, lines json, total_minor bigint, currency text,
        placed_at timestamptz, ended_at timestamptz, version bigint);
    CREATE TABLE sagas (order_id uuid PRIMARY KEY, status text, step text, cause text, updated_at timestamptz);
    CREATE TABLE events (stream text, version bigint, type text, recorded_at timestamptz DEFAULT now(), PRIMARY KEY (stream, version));
    INSERT INTO orders VALUES
        ('00000000-0000-0000-0000-000000000001', 'c', 'CONFIRMED', NULL, '[{\"sku\":\"a\",\"quantity\":2,\"unit_price\":50},{\"sku\":\"b\",\"quantity\":1,\"unit_price\":7}]',
         107, 'USD', '2026-11-23 05:00:00.000001Z', '2026-11-23 05:00:02Z', 3),
        ('00000000-0000-0000-0000-000000000002', 'c', 'CANCELLED', 'out_of_stock', '[{\"sku\":\"a\",\"quantity\":9,\"unit_price\":50}]',
         450, 'USD', '2026-11-23 05:00:00Z', NULL, 2),
        ('00000000-0000-0000-0000-000000000003', 'c', 'PENDING', NULL, '[]', 1, 'USD', '2026-11-23 05:00:00Z', NULL, 1);
    INSERT INTO events VALUES
        ('order-00000000-0000-0000-0000-000000000001', 1, 'orders.OrderPlaced', '2026-11-23 05:00:00Z'),
        ('order-00000000-0000-0000-0000-000000000001', 2, 'orders.OrderConfirmed', '2026-11-23 05:00:01Z');
    INSERT INTO sagas VALUES ('00000000-0000-0000-0000-000000000003', 'stuck', 'capture', 'no answer', now()),
                             ('00000000-0000-0000-0000-000000000001', 'ended', 'commit', NULL, now());
";
const INVENTORY: &str = "
    CREATE TABLE stock (sku text PRIMARY KEY, received bigint, available bigint);
    CREATE TABLE holds (order_id uuid PRIMARY KEY, state text);
    CREATE TABLE hold_lines (order_id uuid, sku text, quantity bigint, PRIMARY KEY (order_id, sku));
    INSERT INTO stock VALUES ('a', 10, 5), ('b', 3, 2), ('c', 4, 4);
    INSERT INTO holds VALUES ('00000000-0000-0000-0000-000000000001', 'committed'), ('00000000-0000-0000-0000-000000000002', 'released'),
                             ('00000000-0000-0000-0000-000000000003', 'held');
    INSERT INTO hold_lines VALUES ('00000000-0000-0000-0000-000000000001', 'a', 2), ('00000000-0000-0000-0000-000000000001', 'b', 1),
                                  ('00000000-0000-0000-0000-000000000002', 'a', 9), ('00000000-0000-0000-0000-000000000003', 'a', 3);
";
const PAYMENTS: &str = "
    CREATE TABLE payments (order_id uuid PRIMARY KEY, state text, authorized_minor bigint, captured_minor bigint, refunded_minor bigint, currency text);
    INSERT INTO payments VALUES ('00000000-0000-0000-0000-000000000001', 'captured', 107, 107, 0, 'USD'),
                                ('00000000-0000-0000-0000-000000000002', 'refunded', 450, 450, 450, 'USD'),
                                ('00000000-0000-0000-0000-000000000003', 'authorized', 1, 0, 0, 'USD');
";
const PROVIDER: &str = "
    CREATE TABLE operations (auth_key uuid PRIMARY KEY, state text, amount_minor bigint, captured_minor bigint, refunded_minor bigint, currency text, calls int);
    INSERT INTO operations VALUES ('00000000-0000-0000-0000-000000000001', 'captured', 107, 107, 0, 'USD', 2);
";

async fn reader(stack: &Stack, database: &'static str, tables: &'static str) -> Reader {
    let url = stack.owner_url(database);
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(tables).execute(&mut owner).await.unwrap();
    Reader::connect(database, &url).await.unwrap()
}

#[tokio::test]
async fn what_the_bench_reads_by_sql_is_what_is_there() {
    let stack = Stack::only_postgres().await.unwrap();
    let [confirmed, cancelled, pending, unknown] = [1, 2, 3, 4].map(Uuid::from_u128);
    let ids = [confirmed, cancelled, pending, unknown];

    let orders = reader(&stack, "orders", ORDERS).await;
    let mut decided = orders.decided(&ids).await.unwrap();
    decided.sort();
    assert_eq!(decided, [(confirmed, Decision::Confirmed), (cancelled, Decision::Cancelled)]);
    assert_eq!(orders.not_ended(&ids).await.unwrap(), 3);
    assert_eq!(orders.running().await.unwrap(), 2);
    assert_eq!(orders.stuck(&ids).await.unwrap(), [(pending, "capture: no answer".to_owned())]);
    let mut rows = orders.rows(&ids).await.unwrap();
    rows.sort_by_key(|row| row.id);
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0].status, rows[0].placed_at.unwrap().to_string().as_str()), (Some(Status::Confirmed), "2026-11-23T05:00:00.000001Z"));
    assert_eq!(rows[0].confirmed_at.unwrap().to_string(), "2026-11-23T05:00:01Z");
    assert_eq!(rows[0].ended_at.unwrap().to_string(), "2026-11-23T05:00:02Z");
    assert_eq!((rows[1].reason.as_deref(), rows[1].confirmed_at, rows[1].ended_at), (Some("out_of_stock"), None, None));

    let inventory = reader(&stack, "inventory", INVENTORY).await;
    let stock = inventory.stock().await.unwrap();
    let expected = [("a", 10, 5, 3, 2), ("b", 3, 2, 0, 1), ("c", 4, 4, 0, 0)];
    let expected = expected.map(|(sku, received, available, held, shipped)| Stock { sku: sku.into(), received, available, held, shipped });
    assert_eq!(stock, expected);

    let payments = reader(&stack, "payments", PAYMENTS).await;
    assert_eq!(payments.payments().await.unwrap()["USD"], Payments { captured: 557, refunded: 450, open: 1 });
    let provider = reader(&stack, "provider", PROVIDER).await;
    assert_eq!(provider.operations().await.unwrap()["USD"], Payments { captured: 107, refunded: 0, open: 0 });

    let books = Books {
        stock,
        ordered_units: orders.confirmed_units().await.unwrap(),
        ordered_totals: orders.confirmed_totals().await.unwrap(),
        payments: payments.payments().await.unwrap(),
        provider: Some(provider.operations().await.unwrap()),
        running: 0,
    };
    assert_eq!(books.judge().violations, ["payment service: 1 authorisations left open (USD)"]);
    stack.shutdown().await;
}
