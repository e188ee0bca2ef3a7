-- Orders as they are read, their sagas, the keys that must not place twice, and the prices they are placed at.

CREATE TABLE orders (
    id          uuid NOT NULL,
    customer_id text NOT NULL,
    status      text NOT NULL CONSTRAINT orders_status_check CHECK (status IN ('PENDING', 'CONFIRMED', 'CANCELLED')),
    reason      text CONSTRAINT orders_reason_check CHECK ((reason IS NOT NULL) = (status = 'CANCELLED')),
    lines       json NOT NULL,
    total_minor bigint NOT NULL,
    currency    text NOT NULL,
    placed_at   timestamptz NOT NULL,
    ended_at    timestamptz,
    version     bigint NOT NULL,
    CONSTRAINT orders_id_key PRIMARY KEY (id)
) WITH (fillfactor = 70);
COMMENT ON COLUMN orders.lines IS '[{sku, quantity, unit_price}]; unit_price in minor units of currency';
COMMENT ON COLUMN orders.version IS 'version of stream order-<id> that this row shows';
CREATE INDEX orders_customer_id_placed_at_idx ON orders (customer_id, placed_at DESC, id DESC);

CREATE TABLE sagas (
    order_id   uuid NOT NULL,
    status     text NOT NULL CONSTRAINT sagas_status_check CHECK (status IN ('running', 'stuck', 'ended')),
    step       text NOT NULL,
    cause      text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sagas_order_id_key PRIMARY KEY (order_id)
) WITH (fillfactor = 50);
COMMENT ON COLUMN sagas.step IS 'the step awaited, or the last one answered';
-- Stuck sagas are few and must be found at once.
CREATE INDEX sagas_stuck_idx ON sagas (order_id) WHERE status = 'stuck';

CREATE TABLE idempotency (
    scope        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    order_id     uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_scope_key_key PRIMARY KEY (scope, key)
);

CREATE TABLE prices (
    sku         text NOT NULL,
    price_minor bigint NOT NULL,
    currency    text NOT NULL,
    CONSTRAINT prices_sku_key PRIMARY KEY (sku)
) WITH (fillfactor = 90);
COMMENT ON TABLE prices IS 'projection of inventory.events';
