-- Projection of the hold events. Lines are written once, when the hold is made, and stay: held and shipped units of a SKU
-- are sums over the lines of holds that are held and committed.
CREATE TABLE holds (
    order_id uuid PRIMARY KEY,
    state    text NOT NULL CONSTRAINT holds_state_check CHECK (state IN ('held', 'committed', 'released', 'rejected'))
) WITH (fillfactor = 70);

CREATE TABLE hold_lines (
    order_id uuid NOT NULL,
    sku      text COLLATE "C" NOT NULL,
    quantity bigint NOT NULL CONSTRAINT hold_lines_quantity_check CHECK (quantity > 0),
    CONSTRAINT hold_lines_key PRIMARY KEY (order_id, sku)
);
