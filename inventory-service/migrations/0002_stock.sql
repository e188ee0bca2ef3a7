-- The SKU row: locked by every decision that takes or gives back units, written once per SKU and transaction.
-- No index on a column that changes, and room on the page: updates stay on it.
CREATE TABLE stock (
    sku       text COLLATE "C" PRIMARY KEY,
    received  bigint NOT NULL CONSTRAINT stock_received_check CHECK (received >= available),
    available bigint NOT NULL CONSTRAINT stock_available_check CHECK (available >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE stock IS 'Units of a SKU: received = available + held + shipped, see hold_lines.';
