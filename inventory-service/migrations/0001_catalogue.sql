-- What we sell. Projection of ProductListed and PriceChanged. Byte order, so that pages are the same wherever the database runs.
CREATE TABLE products (
    sku         text COLLATE "C" PRIMARY KEY,
    name        text NOT NULL,
    category    text NOT NULL,
    brand       text NOT NULL,
    price_minor bigint NOT NULL CONSTRAINT products_price_minor_check CHECK (price_minor >= 0),
    currency    text NOT NULL
) WITH (fillfactor = 90);
COMMENT ON TABLE products IS 'The catalogue, one row a SKU.';
