-- Projection of OrderPlaced: units asked for, whatever became of the orders.
CREATE TABLE demand (
    sku   text COLLATE "C" PRIMARY KEY,
    units bigint NOT NULL
) WITH (fillfactor = 50);
