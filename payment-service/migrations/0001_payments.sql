-- Projection of the payment events: one row a payment.
CREATE TABLE payments (
    order_id         uuid PRIMARY KEY,
    state            text NOT NULL CONSTRAINT payments_state_check
                     CHECK (state IN ('authorized', 'captured', 'declined', 'voided', 'refunded')),
    authorized_minor bigint NOT NULL,
    captured_minor   bigint NOT NULL,
    refunded_minor   bigint NOT NULL,
    currency         text NOT NULL,
    CONSTRAINT payments_conserved_check CHECK (0 <= refunded_minor AND refunded_minor <= captured_minor AND captured_minor <= authorized_minor)
) WITH (fillfactor = 70);
COMMENT ON COLUMN payments.authorized_minor IS 'What was set aside, also when it is not any more: state says what is.';
COMMENT ON COLUMN payments.currency IS 'ISO 4217; XXX (no currency) when nothing was ever set aside.';
