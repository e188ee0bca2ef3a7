-- Double entry: the rows of one (order_id, version) add up to zero. Written once, never changed.
CREATE TABLE ledger (
    order_id     uuid NOT NULL,
    version      bigint NOT NULL,
    account      text NOT NULL CONSTRAINT ledger_account_check CHECK (account IN ('customer', 'authorized', 'captured')),
    amount_minor bigint NOT NULL,
    currency     text NOT NULL,
    CONSTRAINT ledger_key PRIMARY KEY (order_id, version, account)
);
COMMENT ON COLUMN ledger.version IS 'The version of the event in stream payment-<order id> that moved the money.';
